"""`facestudio table`: the model beside methods that are tuned for each person."""

from __future__ import annotations

from facestudio.cli.workshop import AsJson, Config, DryRun, Overrides, print_report, print_settings


def table(
    config: Config,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Compare a model with Textual Inversion and DreamBooth on the same base, with seconds.

    What is done stays done: the same command goes on where it was stopped.
    """
    from facestudio.evaluation import tuning
    from facestudio.settings import load_settings

    settings = load_settings(tuning.TableSettings, config, overrides or ())
    if dry_run:
        print_settings(settings, as_json)
        return
    kept = f"the people finished so far are kept in {settings.out}"
    print_report(tuning.make_table, settings, "people and methods", kept, as_json)
