import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from models_support import NOW

from hrp_core.errors import ModelError, NoPredecessorError
from hrp_core.models.deployments import active_versions
from hrp_core.models.registry import ModelRegistry
from hrp_core.models.tracking import Tracking, import_mlflow
from hrp_core.store import Store, read_lineage

WHO = {"actor": "ana", "reason": "better out of sample"}


def active(store):
    with store.read() as connection:
        return active_versions(connection, "alpha")


def test_versions_are_listed_newest_first_and_an_alias_resolves_to_one(registry, store):
    assert [one.version for one in registry.versions("alpha")] == ["2", "1"]
    assert [(one.name, one.aliases) for one in registry.versions()] == [("alpha", ()), ("alpha", ())]
    registry.promote("alpha", "1", **WHO, store=store, now=NOW)
    assert registry.resolve("alpha") == "1"
    with pytest.raises(ModelError, match="no version of alpha is challenger"):
        registry.resolve("alpha", "challenger")
    with pytest.raises(ModelError, match="no model is called 'beta'"):
        registry.resolve("beta")


def test_promotion_moves_previous_then_production_and_the_table_follows(registry, store):
    registry.promote("alpha", "1", **WHO, store=store, now=NOW)
    deployment = registry.promote("alpha", "2", **WHO, store=store, now=NOW)
    assert (deployment.version, deployment.previous_version) == ("2", "1")
    assert registry.aliases("alpha") == {"production": "2", "previous": "1"}
    assert active(store) == ["2"]
    assert read_lineage(store)["event_type"].tolist() == ["model_promoted", "model_promoted"]


def test_promoting_what_is_in_production_changes_nothing(registry, store):
    for _ in range(2):
        registry.promote("alpha", "1", **WHO, store=store, now=NOW)
    assert registry.aliases("alpha") == {"production": "1"}
    assert len(read_lineage(store)) == 1


def test_rollback_is_one_move_back_and_then_there_is_no_predecessor(registry, store):
    for version in ("1", "2"):
        registry.promote("alpha", version, **WHO, store=store, now=NOW)
    registry.rollback("alpha", actor="drift", reason="drift on 3 sessions", store=store, now=NOW)
    assert registry.aliases("alpha") == {"production": "1", "previous": "1"}
    assert active(store) == ["1"]
    assert read_lineage(store)["event_type"].iloc[0] == "model_rolled_back"
    with pytest.raises(NoPredecessorError, match="hrp halt"):
        registry.rollback("alpha", actor="drift", reason="again", store=store, now=NOW)
    registry.rollback("alpha", "2", actor="ana", reason="it was not the model", store=store, now=NOW)
    assert registry.resolve("alpha") == "2"


def test_without_a_predecessor_or_with_one_that_does_not_load_rollback_tells_to_halt(registry, store):
    registry.promote("alpha", "1", **WHO, store=store, now=NOW)
    for target in (None, "77"):
        with pytest.raises(NoPredecessorError, match="hrp halt") as refusal:
            registry.rollback("alpha", target, actor="ana", reason="test", store=store, now=NOW)
        assert refusal.value.exit_code == 3
    assert registry.resolve("alpha") == "1"


def test_a_version_that_is_unknown_or_does_not_load_is_never_promoted(registry, store, tmp_path):
    client = import_mlflow().MlflowClient(registry.tracking.uri, registry.tracking.uri)
    client.create_model_version("alpha", (tmp_path / "nowhere").as_uri())
    for version in ("3", "4"):
        with pytest.raises(ModelError, match="alpha version"):
            registry.promote("alpha", version, **WHO, store=store, now=NOW)
    assert registry.aliases("alpha") == {}


def test_a_change_needs_an_actor_and_a_reason(registry, store):
    with pytest.raises(ModelError, match="needs an actor and a reason"):
        registry.promote("alpha", "1", actor="ana", reason=" ", store=store, now=NOW)


def test_an_alias_moved_elsewhere_wins_over_the_table(registry, store):
    registry.promote("alpha", "1", **WHO, store=store, now=NOW)
    client = import_mlflow().MlflowClient(registry.tracking.uri, registry.tracking.uri)
    client.set_registered_model_alias("alpha", "production", "2")
    [repaired] = registry.repair(store, now=NOW)
    assert (repaired.actor, repaired.version, repaired.previous_version) == ("repair", "2", "1")
    assert active(store) == ["2"]
    assert registry.repair(store, now=NOW) == []


def test_a_version_is_loaded_once(registry):
    assert registry.load("alpha", "1") is registry.load("alpha", "1")


STEPS = ("before", "noted", "previous", "production", "recording", "recorded")

# A rollback does not move `previous`.
CASES = [
    (action, step)
    for action in ("promote", "rollback")
    for step in STEPS
    if (action, step) != ("rollback", "previous")
]


@pytest.fixture(scope="module")
def killed(lab, tmp_path_factory):
    """Homes in which a promotion (1 to 2) or a rollback (2 to 1) was killed after each step."""
    top = tmp_path_factory.mktemp("killed")
    jobs = []
    for action in ("promote", "rollback"):
        start = top / f"start-{action}"
        (start / "artifacts").mkdir(parents=True)
        shutil.copy(lab.tracking.home / "mlflow.db", start / "mlflow.db")
        jobs.append(f"{action}:prepare:{start}")
        jobs += [f"{action}:{step}:{top / f'{action}-{step}'}" for kind, step in CASES if kind == action]
    script = Path(__file__).with_name("kill_registry.py")
    done = subprocess.run([sys.executable, str(script), *jobs], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return top


@pytest.mark.parametrize(("action", "step"), CASES)
def test_a_kill_at_any_step_leaves_one_production_version_that_loads(killed, action, step):
    home = killed / f"{action}-{step}"
    registry, store = ModelRegistry(Tracking(home)), Store(home / "hrp.duckdb")
    old, new = ("1", "2") if action == "promote" else ("2", "1")
    version = registry.resolve("alpha")
    assert version == (new if step in ("production", "recording", "recorded") else old)
    assert registry.load("alpha", version).spec.features
    repaired = registry.repair(store, now=NOW)
    assert active(store) == [version]
    # What the interrupted call was told is not lost.
    expected = ["killed on purpose"] if step in ("production", "recording") else []
    assert [deployment.reason for deployment in repaired] == expected
    if action == "promote":
        registry.promote("alpha", "2", **WHO, store=store, now=NOW)
        assert registry.aliases("alpha") == {"production": "2", "previous": "1"}
