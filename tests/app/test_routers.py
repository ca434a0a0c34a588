"""The router that the settings describe."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from app.cli import main
from app.experts.catalog import Catalog
from app.routers import own_routes, router_for
from app.settings import Settings, SettingsError
from app.settings.sections import ModelSettings, RoutingSettings
from tests.app.routing.test_own import CLUSTER, REFUNDS, listed

ROUTES = (
    f"[refunds]\n{listed(*REFUNDS)}\n[cluster]\nexpert = 'm:ops'\nkeywords = ['kubernetes']\n{listed(*CLUSTER)}\n"
    "[code]\ndomain = 'coding'\nexpert = 'm:ops'\n"
)


def settings(tmp_path: Path, routes: str | bytes = ROUTES) -> Settings:
    file = tmp_path / "routes.toml"
    file.write_bytes(routes if isinstance(routes, bytes) else routes.encode())
    return Settings(
        model=ModelSettings(engine="stub", alias="m", adapters={"ops": "ops.gguf"}),
        routing=RoutingSettings(routes=str(file), precision=0.5),
        cache_dir=str(tmp_path / "cache"),
    )


def test_routes_lead_to_models_and_adapters(tmp_path: Path) -> None:
    given = settings(tmp_path)
    router = router_for(given, Catalog.from_settings(given))
    assert router.expert("refunds") == "m"
    assert router.expert("cluster") == router.expert("coding") == "m:ops"
    assert router.route("restart the pod of a deployment in the cluster").expert == "m:ops"


def test_a_fit_is_found_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = settings(tmp_path)
    caplog.set_level(logging.INFO)
    first = router_for(given, Catalog.from_settings(given))
    assert "fitted 2 routes" in caplog.text
    assert "fewer than 20 examples: refunds, cluster" in caplog.text
    caplog.clear()
    again = router_for(given, Catalog.from_settings(given))
    assert "fitted" not in caplog.text
    text = "the pod was refunded"
    assert first.route(text) == again.route(text)
    assert len(list((tmp_path / "cache" / "routes").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_no_accident(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = settings(tmp_path)
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert router_for(given, Catalog.from_settings(given)).expert("cluster") == "m:ops"
    assert "routes are fitted at every start" in caplog.text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a]\ndomain = 'legal'\nexpert = 'x'", "[a] expert: There is no model 'x'; there is m, m:ops"),
        ("[a]\ndomain = 'legal'\nexpert = 'jarvis-static'", "makes embeddings"),
        ("[a]\ndomain = 'law'", "is none of"),
        (b"[a]\ndomain = '\xff'", "is not UTF-8"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(tmp_path: Path, text: str | bytes, problem: str) -> None:
    given = settings(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        own_routes(given, Catalog.from_settings(given))
    [line] = caught.value.problems
    assert line.startswith("JARVIS_ROUTES: ") and "routes.toml" in line
    assert problem in line


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    given = settings(tmp_path)
    (tmp_path / "routes.toml").unlink()
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        own_routes(given, Catalog.from_settings(given))


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JARVIS_INFERENCE_ENGINE", "stub")
    monkeypatch.setenv("JARVIS_MODEL_ALIAS", "m")
    monkeypatch.setenv("JARVIS_ROUTES", "routes.toml")
    monkeypatch.setenv("JARVIS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "routes.toml"


def test_route_fit_prints_a_table(variables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variables.write_text(f"[refunds]\n{listed(*REFUNDS)}\n[code]\ndomain = 'coding'\n")
    assert main(["route", "fit"]) == 0
    head, refunds, code, *rest = capsys.readouterr().out.splitlines()
    assert head.split() == ["route", "answered", "by", "examples", "needs"]
    assert refunds.split() == ["refunds", "m", "8", "0.90"]
    assert code.split()[:4] == ["code", "m", "built", "in"]
    assert any("of the examples are right" in line for line in rest)


def test_route_uses_own_routes(variables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variables.write_text(f"[refunds]\n{listed(*REFUNDS)}\n")
    assert main(["route", "I", "want", "my", "money", "back", "for", "this", "order"]) == 0
    assert "refunds" in capsys.readouterr().out.splitlines()[0]


def test_route_fit_without_routes_says_how_to_have_some(
    variables: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not variables.exists()
    monkeypatch.delenv("JARVIS_ROUTES")
    assert main(["route", "fit"]) == 1
    assert "JARVIS_ROUTES names the file" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["serve"], ["check"], ["route", "fit"], ["route", "text"]])
def test_bad_routes_stop_every_command(variables: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    variables.write_text("[a]\nexamples = ['one']")
    assert main(command) == 2
    streams = capsys.readouterr()
    assert "JARVIS_ROUTES: routes.toml: [a] has 1 example" in streams.out + streams.err
