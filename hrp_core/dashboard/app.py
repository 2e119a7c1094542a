"""The script that Streamlit runs for every visit, click and minute: `hrp dashboard` starts it.

What belongs here: one facade a run, and the page's renewal. What does not: the page itself (`page`).
"""

from pathlib import Path

import streamlit as st

from hrp_core.dashboard.page import STYLE, show
from hrp_core.log import configure_logging
from hrp_core.platform import PlatformAPI
from hrp_core.settings import Settings


@st.cache_resource
def _log_to(level: str, fmt: str, folder: Path) -> None:
    """Set logging up once in this process, not at every run of the script."""
    configure_logging(level, fmt, folder)


@st.fragment(run_every=60)
def _page() -> None:
    # Visits run in threads of their own: the journal's connection is not kept from one to the next.
    api = PlatformAPI(settings)
    try:
        show(api)
    finally:
        api.journal.close()


settings = Settings()
_log_to(settings.log_level, settings.log_format, settings.logs_dir)
st.set_page_config(page_title="HRP trading", layout="wide")
st.markdown(STYLE, unsafe_allow_html=True)
_page()
