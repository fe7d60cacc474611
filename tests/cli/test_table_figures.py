"""`table` and `figures`: thin doors before work that other tests cover."""

from __future__ import annotations

from pathlib import Path

import pytest

from facestudio.evaluation import figures, tuning

TABLE = 'people = "people.tar"\nout = "out"\n'
FIGURES = TABLE + 'photo = "photo.png"\n'


class Table:
    """Stands for what was found."""

    def to_dict(self):
        return {"rows": []}

    def to_markdown(self):
        return "# the table"


@pytest.fixture
def table_config(at_home, monkeypatch) -> Path:
    Path("table.toml").write_text(TABLE)
    monkeypatch.setattr(tuning, "make_table", lambda settings, show: Table())
    return Path("table.toml")


@pytest.fixture
def figures_config(at_home, monkeypatch) -> Path:
    def make(settings, show):
        show("figure-alpha", 0, 1)
        return [settings.out / "figure-alpha.jpg"]

    Path("figures.toml").write_text(FIGURES)
    monkeypatch.setattr(figures, "make_figures", make)
    return Path("figures.toml")


def test_the_table_is_printed(cli, table_config):
    done = cli("table", table_config)
    assert done.code == 0
    assert "# the table" in done.out
    assert "out  " in done.out


def test_the_table_in_json(cli, table_config):
    answer = cli("table", table_config, "--json").json
    assert (answer["ok"], answer["out"], answer["report"]) == (True, "out", {"rows": []})


def test_the_table_settings_can_be_looked_at(cli, table_config):
    printed = cli("table", table_config, "-s", "references=[1, 2]", "--dry-run").out
    assert "references = [1, 2]" in printed
    assert "[dreambooth]" in printed


def test_a_stopped_table_says_what_is_kept(cli, table_config, monkeypatch):
    def stop(settings, show):
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "make_table", stop)
    done = cli("table", table_config)
    assert done.code == 130
    assert "the people finished so far are kept in out" in done.err


def test_figures_are_named(cli, figures_config):
    done = cli("figures", figures_config, "-o", "pictures")
    assert done.code == 0
    assert "pictures/figure-alpha.jpg" in done.out


def test_figures_in_json(cli, figures_config):
    answer = cli("figures", figures_config, "--json").json
    assert answer["outputs"] == [{"path": "out/figure-alpha.jpg"}]


def test_the_figures_settings_can_be_looked_at(cli, figures_config):
    assert 'out = "docs"' in cli("figures", figures_config, "-o", "docs", "--dry-run").out


@pytest.mark.parametrize("command", ["table", "figures"])
def test_an_unknown_setting_is_refused(cli, table_config, figures_config, command):
    done = cli(command, f"{command}.toml", "-s", "sead=1")
    assert done.code == 2
    assert "nearest is seed" in done.err
