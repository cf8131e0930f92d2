"""Where the ticket of a retraining comes from."""

from lottery.results.ticket_origins import find_tickets_
from tests.helpers import IMP, TRAIN, made, round_row


def test_a_ticket_without_a_checksum_is_of_no_search_whose_checkpoint_cannot_be_read(tmp_path):
    search = made(tmp_path, IMP, [90.0, 91.0])
    (tmp_path / "1checkpoint.pth.tar").write_bytes(b"damaged")
    training = made(tmp_path / "training", TRAIN, [])
    training.rounds = [round_row(1, 90.0)]
    find_tickets_([search, training])
    assert training.ticket == {"file": "unknown", "prunings": None, "settings": None}
    assert "no run given here has it" in training.notes[0]
