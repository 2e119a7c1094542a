"""Versions of models and which of them is in production: a thin layer over MLflow's registry.

What belongs here: versions, aliases, loading, promotion and rollback, each safe to be killed at any point.
The alias `production` is the truth; the table `model_deployments` follows it (`repair`).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from hrp_core.errors import ModelError, NoPredecessorError, NotPromotedError
from hrp_core.models.deployments import PRODUCTION, Deployment, active_versions, record_deployment
from hrp_core.models.drift import DriftReference
from hrp_core.models.spec import ModelSpec, spec_from_model
from hrp_core.models.tracking import Tracking, import_mlflow
from hrp_core.store import Store

CHALLENGER, PREVIOUS = "challenger", "previous"
_INTENT_TAG = "hrp.deployment"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One registered version.

    Attributes:
        name: registered model.
        version: number, as text.
        aliases: production, challenger, previous or others, sorted.
        run_id: MLflow run that made it; None when it was registered without one.
        created_at: timezone-aware (UTC).
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    run_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version in memory, with what it must be given."""

    name: str
    version: str
    spec: ModelSpec
    pyfunc: Any

    def predict(self, rows: pd.DataFrame) -> Any:
        """Return what the model answers to these rows (columns as in `spec.features`)."""
        return self.pyfunc.predict(rows)


class ModelRegistry:
    """The registry of one installation; loaded versions are kept, because a version never changes.

    Args:
        tracking: where MLflow lives.
    """

    def __init__(self, tracking: Tracking) -> None:
        self.tracking = tracking
        self._loaded: dict[tuple[str, str], LoadedModel] = {}
        self._references: dict[tuple[str, str], DriftReference] = {}
        self._client: Any = None

    def versions(self, name: str | None = None) -> list[ModelVersion]:
        """Return the versions of one model, or of all, by name and then newest first; empty without any."""
        with self._calls("list the models"):
            client = self._connect()
            models = client.search_registered_models() if name is None else []
            names = sorted(model.name for model in models) if name is None else [name]
            return [version for one in names for version in self._versions(one)]

    def aliases(self, name: str) -> dict[str, str]:
        """Return the version by alias of one model; empty when there is no such model."""
        return {alias: version.version for version in self.versions(name) for alias in version.aliases}

    def resolve(self, name: str, alias: str = PRODUCTION) -> str:
        """Return the version that an alias points at now; pin it for the whole partition.

        Raises:
            NotPromotedError: (a ModelError) there is no such model, or nothing has the alias.
            ModelError: the registry cannot be read.
        """
        with self._calls(f"find what is {alias} of {name}"):
            pointed = self._pointed(name).get(alias)
        if pointed is not None:
            return pointed
        found = self.versions(name)
        if not found:
            raise NotPromotedError(f"no model is called {name!r}; train it with `hrp model train`")
        raise NotPromotedError(
            f"no version of {name} is {alias}; choose one of {', '.join(one.version for one in found)} with "
            f"`hrp model promote {name} VERSION --reason WHY`"
        )

    def load(self, name: str, version: str) -> LoadedModel:
        """Return a version, from memory when it was loaded before.

        Raises:
            ModelError: there is no such version, it cannot be loaded, or it does not say what it takes.
        """
        version = str(version)
        if (kept := self._loaded.get((name, version))) is not None:
            return kept
        import_mlflow()
        import mlflow.pyfunc as mlflow_pyfunc

        with self._calls(f"find {name} version {version}"):
            # By its folder and not by models:/..., which would depend on MLflow's process-wide addresses.
            source = self._connect().get_model_version_download_uri(name, version)
        try:
            pyfunc = mlflow_pyfunc.load_model(source)
        # A model is arbitrary code and data: anything can go wrong inside it.
        except Exception as error:
            raise ModelError(
                f"{name} version {version} cannot be loaded from {source}: {type(error).__name__}: {error}; "
                "restore its files, or promote another version"
            ) from error
        model = LoadedModel(
            name, version, spec_from_model(pyfunc.metadata, f"{name} version {version}"), pyfunc
        )
        self._loaded[name, version] = model
        return model

    def drift_reference(self, name: str, version: str) -> DriftReference:
        """Return what was normal when the version was trained, from memory when it was read before.

        Raises:
            ModelError: none was logged with it (a model made elsewhere), or it cannot be read.
        """
        if (kept := self._references.get((name, str(version)))) is not None:
            return kept
        with self._calls(f"find the drift reference of {name} version {version}"):
            client = self._connect()
            run_id = client.get_model_version(name, str(version)).run_id
            logged = bool(run_id) and any(item.path == "drift" for item in client.list_artifacts(run_id))
            if not logged:
                raise ModelError(
                    f"no drift reference was logged with {name} version {version}; train it with "
                    "`hrp model train`, or log one under `drift` in its run"
                )
            reference = DriftReference.load(Path(client.download_artifacts(run_id, "drift")))
        self._references[name, str(version)] = reference
        return reference

    def metrics(self, name: str, version: str) -> dict[str, float]:
        """Return the figures logged when a version was trained; empty when it came without a run.

        Raises:
            ModelError: there is no such version.
        """
        found = [item for item in self.versions(name) if item.version == str(version)]
        if not found:
            raise ModelError(f"{name} has no version {version}; `hrp model list` shows those there are")
        if not found[0].run_id:
            return {}
        with self._calls(f"read the run of {name} version {version}"):
            return dict(self._connect().get_run(found[0].run_id).data.metrics)

    def run_id(self, name: str, version: str) -> str | None:
        """Return the MLflow run that made a version; None when it was registered without one.

        Raises:
            ModelError: there is no such version, or the registry cannot be read.
        """
        with self._calls(f"find the run of {name} version {version}"):
            return self._connect().get_model_version(name, str(version)).run_id or None

    def promote(
        self, name: str, version: str, *, actor: str, reason: str, store: Store, now: datetime
    ) -> Deployment:
        """Put a version into production.

        The version is loaded first; then `previous` is set to the version in production, then `production`
        moves, in one step of MLflow's database, then the table follows. A kill leaves exactly one production
        version at every point; run again, or `repair`, to finish.

        Args:
            name: registered model.
            version: version to put in place; already there: only the table is brought in line.
            actor: person or job.
            reason: why; must not be empty.
            store: holds `model_deployments` and the lineage.
            now: moment of the move, timezone-aware.

        Raises:
            ModelError: there is no such version, or it does not load; nothing was changed.
        """
        version = str(version)
        _require(actor, reason, now)
        self.load(name, version)
        with self.tracking.lock():
            current = self.aliases(name).get(PRODUCTION)
            if current == version:
                return self._follow(name, store, now) or Deployment(name, version, None, actor, reason)
            deployment = Deployment(name, version, current, actor, reason)
            self._note(deployment, now)
            if current is not None:
                self._set_alias(name, PREVIOUS, current)
            self._set_alias(name, PRODUCTION, version)
            self._record(deployment, store, now)
        return deployment

    def rollback(
        self,
        name: str,
        to_version: str | None = None,
        *,
        actor: str,
        reason: str,
        store: Store,
        now: datetime,
    ) -> Deployment:
        """Go back to an earlier version: one move of the alias `production`.

        Args:
            name: registered model.
            to_version: version to go back to; default: the one that `previous` points at.
            actor: person or job.
            reason: why; must not be empty.
            store: holds `model_deployments` and the lineage.
            now: moment of the move, timezone-aware.

        Raises:
            NoPredecessorError: there is no earlier version that loads: halt trading.
        """
        _require(actor, reason, now)
        with self.tracking.lock():
            aliases = self.aliases(name)
            current = aliases.get(PRODUCTION)
            target = str(to_version) if to_version is not None else aliases.get(PREVIOUS)
            if target is None or target == current:
                raise NoPredecessorError(
                    f"{name} has no version to go back to (production is {current or 'not set'}): stop "
                    "trading (`hrp halt --reason ...`), then train or promote a version you trust"
                )
            try:
                self.load(name, target)
            except ModelError as error:
                raise NoPredecessorError(
                    f"{name} cannot go back to version {target}: {error}. Nothing was changed; stop "
                    "trading (`hrp halt --reason ...`)"
                ) from error
            deployment = Deployment(name, target, current, actor, reason, rollback=True)
            self._note(deployment, now)
            self._set_alias(name, PRODUCTION, target)
            self._record(deployment, store, now)
        return deployment

    def repair(self, store: Store, *, now: datetime) -> list[Deployment]:
        """Bring `model_deployments` in line with the aliases, which win; return what was missing."""
        with self.tracking.lock():
            names = dict.fromkeys(version.name for version in self.versions())
            return [found for name in names if (found := self._follow(name, store, now)) is not None]

    def _follow(self, name: str, store: Store, now: datetime) -> Deployment | None:
        version = self.aliases(name).get(PRODUCTION)
        if version is None:
            return None
        noted = self._noted(name, version)
        with store.write() as connection:
            active = active_versions(connection, name)
            if active == [version]:
                return None
            deployment = noted or Deployment(
                name,
                version,
                active[-1] if active else None,
                "repair",
                f"production points at version {version}, the table said {', '.join(active) or 'nothing'}",
            )
            record_deployment(connection, deployment, now=now)
        return deployment

    def _note(self, deployment: Deployment, now: datetime) -> None:
        """Write who and why on the version before the alias moves, for the repair after a kill."""
        note = {
            "previous_version": deployment.previous_version,
            "actor": deployment.actor,
            "reason": deployment.reason,
            "rollback": deployment.rollback,
            "at": now.isoformat(),
        }
        with self._calls(f"tag {deployment.model_name} version {deployment.version}"):
            self._connect().set_model_version_tag(
                deployment.model_name, deployment.version, _INTENT_TAG, json.dumps(note)
            )

    def _noted(self, name: str, version: str) -> Deployment | None:
        with self._calls(f"read the tags of {name} version {version}"):
            text = self._connect().get_model_version(name, version).tags.get(_INTENT_TAG)
        if text is None:
            return None
        note = json.loads(text)
        return Deployment(
            name, version, note["previous_version"], note["actor"], note["reason"], rollback=note["rollback"]
        )

    def _set_alias(self, name: str, alias: str, version: str) -> None:
        with self._calls(f"move {alias} of {name} to version {version}"):
            self._connect().set_registered_model_alias(name, alias, version)

    def _record(self, deployment: Deployment, store: Store, now: datetime) -> None:
        with store.write() as connection:
            record_deployment(connection, deployment, now=now)

    def _versions(self, name: str) -> list[ModelVersion]:
        found: dict[str, list[str]] = {}
        for alias, version in self._pointed(name).items():
            found.setdefault(version, []).append(alias)
        rows = self._connect().search_model_versions(f"name = '{_quoted(name)}'")
        return [
            ModelVersion(
                name,
                str(row.version),
                tuple(sorted(found.get(str(row.version), []))),
                row.run_id or None,
                datetime.fromtimestamp(row.creation_timestamp / 1000, UTC),
            )
            for row in sorted(rows, key=lambda row: -int(row.version))
        ]

    def _pointed(self, name: str) -> dict[str, str]:
        """Return the version by alias of one model."""
        models = self._connect().search_registered_models(filter_string=f"name = '{_quoted(name)}'")
        return {alias: str(version) for model in models for alias, version in model.aliases.items()}

    def _connect(self) -> Any:
        if self._client is None:
            if not self.tracking.artifacts.exists():
                self.tracking.set_up()
            self._client = import_mlflow().MlflowClient(self.tracking.uri, self.tracking.uri)
        return self._client

    @contextmanager
    def _calls(self, what: str) -> Iterator[None]:
        """Turn MLflow's errors into ours."""
        import_mlflow()
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            raise ModelError(
                f"MLflow could not {what}: {error}; see `hrp model list` for what is registered"
            ) from error


def _require(actor: str, reason: str, now: datetime) -> None:
    if not actor.strip() or not reason.strip():
        raise ModelError("a change of the production model needs an actor and a reason; give both")
    if now.tzinfo is None:
        raise ValueError(f"a moment needs a time zone: {now!r}")


def _quoted(name: str) -> str:
    if "'" in name:
        raise ModelError(f"{name!r} is not a model name: it holds a quotation mark")
    return name
