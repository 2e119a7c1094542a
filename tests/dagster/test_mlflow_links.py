"""Links from the pages of Dagster to those of MLflow."""

import pytest
from pydantic import ValidationError

from hrp_core.settings import Settings
from hrp_dagster.mlflow_links import run_page, version_pages

UI = "http://127.0.0.1:5000"


def test_a_run_is_a_link_where_an_address_is_set_and_a_command_where_none_is() -> None:
    assert run_page(UI, "sqlite:////a/mlflow.db", "1", "f00").value == f"{UI}/#/experiments/1/runs/f00"
    assert run_page(None, "sqlite:////my state/mlflow.db", "1", "f00").value == (
        "mlflow ui --backend-store-uri 'sqlite:////my state/mlflow.db' --host 127.0.0.1"
    )


def test_a_version_leads_to_its_page_whatever_its_model_is_called() -> None:
    pages = version_pages(UI, [("us_equity_ranker", "3"), ("a/b c", "1")]).value
    assert pages == (
        f"- [us_equity_ranker 3]({UI}/#/models/us_equity_ranker/versions/3)\n"
        f"- [a/b c 1]({UI}/#/models/a%2Fb%20c/versions/1)"
    )


def test_the_address_of_mlflow_is_one_of_the_web(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().mlflow_ui is None
    monkeypatch.setenv("HRP_MLFLOW_UI", f"{UI}/")
    assert Settings().mlflow_ui == UI
    monkeypatch.setenv("HRP_MLFLOW_UI", "javascript:alert(1)")
    with pytest.raises(ValidationError, match="must be an address such as http"):
        Settings()
