"""Run a state machine on a kind of repository, counted as a campaign."""

from __future__ import annotations

from hypothesis import seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.support import FULL
from tests.support.campaign import campaign
from tests.support.operations import PLAIN, RepositoryKind

SEED = 20261123


def run_model(name: str, machine: type[RuleBasedStateMachine], kind: RepositoryKind) -> None:
    """Try 150 sequences of 30 steps under BACKUPD_FULL=1, few short ones else.

    A case is a sequence; one that shows a difference from the model is a case of its own.
    """
    runs = campaign(f"state machine: {name}, {kind.name}", seed=SEED)
    steps = [0]

    class Counted(machine):  # type: ignore[misc, valid-type]
        def check_invariants(self, *arguments: object, **named: object) -> None:
            steps[0] += 1
            super().check_invariants(*arguments, **named)

        def teardown(self) -> None:
            with runs.case("sequence", len(runs.results)):
                super().teardown()

    Counted.kind = kind
    most = 6 if kind is PLAIN else 3
    length = 30 if FULL else 12
    limits = settings(max_examples=150 if FULL else most, stateful_step_count=length, deadline=None)
    try:
        run_state_machine_as_test(seed(SEED)(Counted), settings=limits)
    except Exception:
        with runs.case("sequence", "falsified"):
            raise
    runs.note = f"{steps[0]} steps checked"
