"""Print docs/settings.md, every setting: `python scripts/settings_page.py > docs/settings.md`."""

from decimal import Decimal
from enum import Enum
from pathlib import Path

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from hrp_core.settings import PROJECT_ROOT, Settings

# BrokerConfig.from_env reads them; a test compares names and defaults with it.
BROKER = {
    "IBKR_HOST": ("127.0.0.1", "Where TWS or IB Gateway runs."),
    "IBKR_PORT": ("7497", "7497 (TWS) or 4002 (IB Gateway) is paper, 7496 or 4001 live."),
    "IBKR_CLIENT_ID": ("1", "Client id of the order writer; readers use it plus 100, 200, 300, 400."),
    "IBKR_ACCOUNT": ("none", "The one account that is traded: D... in paper, U... in live."),
    "IBKR_PAPER_TRADING": ("true", "Must agree with HRP_MODE: true in paper, false in live."),
}
_HEAD = """\
# Settings

Generated from the code (`python scripts/settings_page.py > docs/settings.md`); a test keeps it up to date.

Every setting is an environment variable. What the environment does not have is read from `.env` in the
project's folder, or from the file that `HRP_ENV_FILE` names; then the default holds. A relative path starts
at the project's folder. `hrp doctor` says what does not fit together. The limits are explained in
[risk-rules.md](risk-rules.md), the modes in [modes.md](modes.md).
"""


def settings_page() -> str:
    """Return the whole page."""
    lines = [_HEAD, "| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `{_variable(name, field)}` | {_default(field)} | {field.description} |")
    lines += ["", "## Broker", "", "Read in paper and live, never in sim.", ""]
    lines += ["| variable | default | meaning |", "|---|---|---|"]
    for name, (default, meaning) in BROKER.items():
        lines.append(f"| `{name}` | {default if default == 'none' else f'`{default}`'} | {meaning} |")
    return "\n".join(lines) + "\n"


def _variable(name: str, field: FieldInfo) -> str:
    if isinstance(field.validation_alias, AliasChoices):
        return str(field.validation_alias.choices[0])
    return f"HRP_{name.upper()}"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == ():
        return "none"
    if isinstance(value, Path):
        return f"`{value.relative_to(PROJECT_ROOT)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Decimal):
        return f"`{value:f}`"
    return f"`{value.value if isinstance(value, Enum) else value}`"


if __name__ == "__main__":
    print(settings_page(), end="")
