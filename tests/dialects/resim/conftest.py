from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from resim_batch import Lab


@pytest.fixture
def lab(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Experiences and builds in their own folder, without a batch."""
    monkeypatch.chdir(tmp_path)
    for name in ("REKINDLE_STORE", "RESIM_EXPERIENCES_CONFIG", "GITHUB_ACTOR", "GITLAB_USER_LOGIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # main sets sys.excepthook; restore it after the test
    return Lab(tmp_path, capsys)
