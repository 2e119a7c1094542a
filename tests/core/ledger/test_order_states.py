"""The fold from evidence to state, by table and by property."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.ledger.states import fold_attempt, intent_status, is_proven_terminal
from hrp_core.ledger.types import Evidence, OrderStatus, Source

S = OrderStatus


def event(status: OrderStatus | None, perm_id: int = 7, **more: object) -> Evidence:
    return replace(Evidence("ref", Source.EVENT, status, perm_id), **more)  # type: ignore[arg-type]


def listed(status: OrderStatus) -> Evidence:
    source = Source.COMPLETED if status.is_terminal else Source.OPEN
    return Evidence("ref", source, status, perm_id=7)


UNSEEN = Evidence("ref", Source.UNSEEN, message="nowhere")
NEVER_LEFT = Evidence("ref", Source.NOT_SENT, message="not connected; nothing was sent")
EXECUTION = Evidence("ref", Source.EXECUTION, perm_id=7, message="exec")


def resolved(status: OrderStatus) -> Evidence:
    return Evidence("ref", Source.RESOLUTION, status, message="ann: looked in TWS")


def placed(known: Sequence[Evidence]) -> list[Evidence]:
    """Give each piece the position that the journal would: learned one after the other."""
    return [
        replace(item, position=2 * number + (item.source not in {Source.EVENT, Source.EXECUTION}))
        for number, item in enumerate(known, start=1)
    ]


@pytest.mark.parametrize(
    ("known", "filled", "status"),
    [
        ([], 0, S.SENT),
        ([NEVER_LEFT], 0, S.NOT_SENT),
        ([NEVER_LEFT, UNSEEN], 0, S.NOT_SENT),  # not being seen is no doubt about not having left
        ([NEVER_LEFT, listed(S.SUBMITTED)], 0, S.SUBMITTED),  # the broker has the last word
        ([listed(S.SUBMITTED), NEVER_LEFT], 0, S.SUBMITTED),
        ([event(S.SENT, perm_id=0)], 0, S.SENT),
        ([event(S.SUBMITTED, perm_id=0)], 0, S.SENT),  # permId 0 acknowledges nothing
        ([event(S.SUBMITTED)], 0, S.SUBMITTED),
        ([event(None, code=399, message="held until the open")], 0, S.SUBMITTED),
        ([event(S.FILLED)], 0, S.SUBMITTED),  # a status before its fills is a hint (F15)
        ([event(S.SUBMITTED), EXECUTION], 40, S.PARTIALLY_FILLED),
        ([EXECUTION], 100, S.FILLED),
        ([event(S.HELD)], 0, S.HELD),  # Inactive without a reject is not dead (F9)
        ([event(S.HELD), event(S.SUBMITTED)], 0, S.SUBMITTED),
        ([event(S.SUBMITTED), listed(S.HELD)], 0, S.HELD),
        ([event(S.SUBMITTED), event(S.PENDING_CANCEL)], 0, S.PENDING_CANCEL),
        ([event(S.PENDING_CANCEL), EXECUTION], 100, S.FILLED),
        ([event(S.CANCELLED)], 0, S.CANCELLED),
        ([event(S.CANCELLED)], 40, S.CANCELLED),  # keeps its fills (F11)
        ([event(S.CANCELLED), EXECUTION], 100, S.FILLED),  # fill after cancel (F10)
        ([event(S.REJECTED, perm_id=0, code=201, message="margin")], 0, S.REJECTED),
        ([event(S.HELD), event(S.REJECTED, code=201)], 0, S.REJECTED),  # both shapes of a reject (F8)
        ([event(S.REJECTED, code=201), event(S.CANCELLED)], 0, S.REJECTED),
        ([event(S.REJECTED, code=201)], 40, S.CANCELLED),
        ([UNSEEN], 0, S.UNKNOWN),  # silence is not a reject (F5)
        ([UNSEEN, event(S.SUBMITTED)], 0, S.SUBMITTED),
        ([UNSEEN, listed(S.SUBMITTED)], 0, S.SUBMITTED),
        ([UNSEEN, EXECUTION], 40, S.PARTIALLY_FILLED),
        ([event(S.SUBMITTED), UNSEEN], 0, S.UNKNOWN),  # lost sight of
        ([event(S.SUBMITTED), EXECUTION, UNSEEN], 40, S.UNKNOWN),
        ([event(S.CANCELLED), UNSEEN], 0, S.CANCELLED),
        # A cancel that the lists contradict was none (F1), one after the list stands.
        ([event(S.CANCELLED), listed(S.SUBMITTED)], 0, S.SUBMITTED),
        ([listed(S.SUBMITTED), event(S.CANCELLED)], 0, S.CANCELLED),
        ([listed(S.CANCELLED), event(S.SUBMITTED)], 0, S.CANCELLED),
        ([listed(S.CANCELLED), listed(S.SUBMITTED)], 0, S.SUBMITTED),
        # An error that may or may not have ended the order is settled by asking only (F1).
        ([event(S.SUBMITTED), event(S.UNKNOWN, code=10349)], 0, S.UNKNOWN),
        ([event(S.UNKNOWN, code=10349), event(S.SUBMITTED)], 0, S.UNKNOWN),
        ([event(S.UNKNOWN, code=10349), listed(S.SUBMITTED)], 0, S.SUBMITTED),
        ([event(S.UNKNOWN, code=10349), listed(S.CANCELLED)], 0, S.CANCELLED),
        ([UNSEEN, resolved(S.EXPIRED)], 0, S.EXPIRED),
        ([UNSEEN, resolved(S.EXPIRED), listed(S.SUBMITTED)], 0, S.SUBMITTED),  # seen after all
        ([UNSEEN, resolved(S.REJECTED), EXECUTION], 40, S.PARTIALLY_FILLED),
    ],
)
def test_evidence_amounts_to_a_state(known: list[Evidence], filled: int, status: OrderStatus) -> None:
    assert fold_attempt(100, filled, placed(known)).status is status


def test_a_reason_is_the_code_that_ended_the_order_and_no_reason_is_kept_for_a_good_one() -> None:
    told = [
        event(S.SUBMITTED),
        event(None, code=399, message="info"),
        event(S.REJECTED, code=201, message="no"),
    ]
    assert fold_attempt(100, 0, placed(told)).reason == "201: no"
    assert fold_attempt(100, 100, placed(told)).reason == ""
    assert fold_attempt(100, 0, placed([UNSEEN])).reason == "nowhere"


def test_more_fills_than_shares_and_two_perm_ids_are_reported() -> None:
    state = fold_attempt(100, 130, placed([event(S.SUBMITTED, perm_id=7), event(S.SUBMITTED, perm_id=8)]))
    assert (state.overfilled, state.perm_ids, state.status) == (True, (7, 8), S.FILLED)


STATUSES = st.sampled_from([None, S.SENT, S.SUBMITTED, S.PARTIALLY_FILLED, S.FILLED, S.HELD, S.PENDING_CANCEL,
                            S.CANCELLED, S.REJECTED, S.UNKNOWN])  # fmt: skip
MESSAGES = st.builds(
    event, STATUSES, perm_id=st.sampled_from([0, 7]), code=st.sampled_from([None, 201]), message=st.just("")
)


@given(
    messages=st.lists(st.one_of(MESSAGES, st.just(EXECUTION)), max_size=8),
    filled=st.integers(0, 100),
    data=st.data(),
)
def test_neither_order_nor_repetition_of_the_brokers_messages_changes_the_state(
    messages: list[Evidence], filled: int, data: st.DataObject
) -> None:
    repeated = messages + data.draw(
        st.lists(st.sampled_from(messages), max_size=4) if messages else st.just([])
    )
    shuffled = data.draw(st.permutations(repeated))
    first, second = (fold_attempt(100, filled, placed(known)) for known in (messages, shuffled))
    assert (first.status, first.filled, first.perm_ids) == (second.status, second.filled, second.perm_ids)


@given(
    st.lists(
        st.one_of(MESSAGES, st.just(UNSEEN), st.sampled_from([listed(S.SUBMITTED), listed(S.CANCELLED)]))
    )
)
def test_filled_always_means_the_executions_say_so(messages: list[Evidence]) -> None:
    assert fold_attempt(100, 99, placed(messages)).status is not S.FILLED
    assert fold_attempt(100, 100, placed(messages)).status is S.FILLED


@given(st.lists(MESSAGES))
def test_a_state_after_an_answer_of_the_broker_does_not_depend_on_what_was_pushed_before(
    messages: list[Evidence],
) -> None:
    for answer in (listed(S.SUBMITTED), listed(S.HELD)):
        assert fold_attempt(100, 0, placed([*messages, answer])).status is answer.status


def test_an_end_is_proven_by_the_brokers_lists_or_a_decision_not_by_a_message() -> None:
    pushed = placed([event(S.CANCELLED)])
    assert not is_proven_terminal(S.CANCELLED, pushed, snapshots_from=-1)
    assert not is_proven_terminal(S.CANCELLED, pushed, snapshots_from=1)
    assert is_proven_terminal(S.CANCELLED, pushed, snapshots_from=3)
    assert is_proven_terminal(S.CANCELLED, placed([listed(S.CANCELLED)]), snapshots_from=-1)
    assert is_proven_terminal(S.EXPIRED, placed([UNSEEN, resolved(S.EXPIRED)]), snapshots_from=-1)
    assert is_proven_terminal(S.FILLED, [], snapshots_from=-1)
    for status in (S.SENT, S.SUBMITTED, S.UNKNOWN, S.PARTIALLY_FILLED, S.PENDING_CANCEL, S.HELD):
        assert not is_proven_terminal(status, placed([listed(S.SUBMITTED)]), snapshots_from=99)


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([], (S.PENDING, 0)),
        ([(S.SUBMITTED, 0)], (S.SUBMITTED, 0)),
        ([(S.CANCELLED, 40)], (S.CANCELLED, 40)),
        ([(S.CANCELLED, 40), (S.SUBMITTED, 0)], (S.PARTIALLY_FILLED, 40)),
        ([(S.CANCELLED, 40), (S.FILLED, 60)], (S.FILLED, 100)),
        ([(S.CANCELLED, 30), (S.FILLED, 60)], (S.PARTIALLY_FILLED, 90)),
        ([(S.CANCELLED, 40), (S.UNKNOWN, 0)], (S.UNKNOWN, 40)),
    ],
)
def test_an_intent_adds_up_its_attempts(
    attempts: list[tuple[OrderStatus, int]], expected: tuple[OrderStatus, int]
) -> None:
    assert intent_status(100, S.PENDING, attempts) == expected


def test_an_intent_never_sent_keeps_its_own_state() -> None:
    assert intent_status(100, S.EXPIRED, []) == (S.EXPIRED, 0)
