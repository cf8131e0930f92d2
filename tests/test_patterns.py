"""N:M patterns: masks against a literal loop, searches to a pattern, and what knows of them afterwards."""

import itertools

import pytest
import torch

import verify
from lottery.checkpointing.checkpoint import read, split_state, write
from lottery.patterns import Pattern, find_pattern, kept_by_pattern, prune_to_pattern
from lottery.search.config import PruningConfig
from pruner import count, dense, density, magnitude, same
from tests.helpers import (
    REWIND,
    SAVING,
    Tiny,
    assert_same_files,
    checkpoints,
    masks,
    run,
    run_in_process,
    run_killed,
)
from utils import InputError

SEARCH = REWIND.replace(" --pruning_times 3", "")
SHORT = f"{SEARCH} --epochs 3 --decreasing_lr 2"
FITTING = "network.3.weight"  # of tests.networks:tiny; its first convolution has three inputs


def kept_by_loop(scores, pattern):
    """Which weights of a layer (out, in) or (out, in, kh, kw) are kept, one group after another."""
    kept = torch.zeros(scores.shape, dtype=torch.bool)
    out, inputs, *places = scores.shape
    for o, start, place in itertools.product(
        range(out), range(0, inputs, pattern.group), itertools.product(*map(range, places))
    ):
        group = [(o, start + i, *place) for i in range(pattern.group)]
        ranked = sorted(group, key=lambda index: (scores[index].item(), index[1]))  # of equals the first is dropped
        for index in ranked[pattern.group - pattern.kept :]:
            kept[index] = True
    return kept


@pytest.mark.parametrize(
    "pattern", [Pattern(2, 4), Pattern(1, 4), Pattern(3, 4), Pattern(1, 2), Pattern(5, 8)], ids=str
)
@pytest.mark.parametrize("shape", [(5, 16), (3, 8, 3, 2), (6, 24, 1, 1)], ids=str)
def test_the_largest_of_each_group_are_kept_the_later_of_equals(shape, pattern):
    torch.manual_seed(0)
    for scores in (torch.randn(shape).abs(), torch.randint(3, shape).float(), torch.zeros(shape)):
        mask = {"layer": torch.ones(shape, dtype=torch.bool)}
        found = prune_to_pattern(mask, {"layer": scores}, pattern)["layer"]
        assert torch.equal(found, kept_by_loop(scores, pattern))
        assert found.is_contiguous() and int(found.sum()) == kept_by_pattern(mask, pattern)
        assert mask["layer"].all(), "the argument stays as it is"


def test_a_grouped_convolution_has_groups_within_its_own_inputs():
    weights = torch.nn.Conv2d(16, 8, 3, groups=2).weight.detach().abs()  # (8, 8, 3, 3)
    found = prune_to_pattern({"conv": torch.ones_like(weights, dtype=torch.bool)}, {"conv": weights}, Pattern(2, 4))
    assert torch.equal(found["conv"], kept_by_loop(weights, Pattern(2, 4)))


def test_memory_in_channels_last_order_gives_the_same_mask():
    weights = torch.randn(8, 8, 3, 3).abs()
    lasting = weights.to(memory_format=torch.channels_last)
    found = prune_to_pattern({"conv": torch.ones_like(lasting, dtype=torch.bool)}, {"conv": lasting}, Pattern(2, 4))
    assert torch.equal(found["conv"], kept_by_loop(weights, Pattern(2, 4)))


def test_a_layer_that_the_pattern_does_not_fit_stays_as_it_is():
    model = Tiny()  # conv1 has one input
    before = dense(model)
    after = prune_to_pattern(before, magnitude(model.state_dict(), before), Pattern(2, 4))
    assert after["conv1.weight"].all() and density({"conv2": after["conv2.weight"]}) == 0.5


def test_what_is_dropped_stays_dropped():
    mask = {"fc": torch.tensor([[True, False, False, False], [True, True, True, False]])}
    scores = {"fc": torch.tensor([[1.0, 9, 9, 9], [1.0, 3, 2, 9]])}
    assert prune_to_pattern(mask, scores, Pattern(2, 4))["fc"].tolist() == [
        [True] + 3 * [False],
        [False, True, True, False],
    ]


def test_what_is_not_a_number_has_no_rank():
    with pytest.raises(ValueError, match="not a number"):
        prune_to_pattern({"fc": torch.ones(1, 4).bool()}, {"fc": torch.tensor([[1.0, 2, torch.nan, 4]])}, Pattern(2, 4))


@pytest.mark.parametrize(
    "text", ["2", "2:2", "0:4", "4:2", "16:33", "-1:4", "a:b", "2:4:8", "1.5:4", "", "2 : 4", "²:4"]
)
def test_what_is_no_pattern(text):
    with pytest.raises(ValueError, match="1 <= N < M <= 32"):
        Pattern.parse(text)


def test_patterns_in_words():
    assert str(Pattern.parse("2:4")) == "2:4" and Pattern.parse("31:32") == (31, 32)


@pytest.mark.parametrize(
    "pattern", [Pattern(2, 4), Pattern(1, 4), Pattern(1, 2), Pattern(3, 8), Pattern(7, 32)], ids=str
)
def test_the_pattern_of_a_mask_is_found(pattern):
    torch.manual_seed(1)
    weights = {"conv": torch.randn(4, 32, 3, 3), "fc": torch.randn(8, 96), "odd": torch.randn(3, 5)}
    found = prune_to_pattern(whole := {name: value.bool() | True for name, value in weights.items()}, weights, pattern)
    assert find_pattern(found) == (Pattern(2, 4) if pattern == (1, 2) else pattern)  # 1:2 is 2:4 as well
    assert find_pattern(whole) is None and find_pattern({}) is None
    found["fc"][1] = ~found["fc"][1]
    found["fc"][1, :32] = True
    assert find_pattern(found) is None


# --- searches ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search to 2:4 with its early stop, by the directory of each script."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("imp", "PrAC")}
    return {kind: (folder, run(kind, f"{SEARCH} --pattern 2:4", folder)) for kind, folder in folders.items()}


@pytest.mark.parametrize("kind", ["imp", "PrAC"])
def test_a_search_prunes_once_to_the_pattern(found, kind):
    folder, out = found[kind]
    dense_round, ticket = checkpoints(folder)
    trained = {name: dense_round["state_dict"][name].abs() for name in (FITTING,)}
    _, mask = split_state(ticket["state_dict"])
    assert torch.equal(mask[FITTING], kept_by_loop(trained[FITTING], Pattern(2, 4)))
    assert mask["network.0.weight"].all()
    assert "note: network.0.weight stays dense, since 4 does not divide its number of inputs" in " ".join(out.split())
    settings = ticket["settings"]
    assert (settings["pattern"], settings["rate"], settings["pruning_times"]) == ("2:4", None, 1)
    assert settings["kept by pattern"] == count(mask) == 3 * 8 * 9 + 8 * 16 * 9 // 2
    status, told, _ = run_in_process(verify, folder / "1checkpoint.pth.tar")
    assert status == 0 and "2:4 in 1 of 1 layers that it fits; it does not fit network.0.weight" in told


def test_the_mask_survives_its_retraining(found, tmp_path):
    ticket = found["imp"][0] / "1checkpoint.pth.tar"
    flags = SHORT.replace("--prune_type rewind_lt --rewind_epoch 1", f"--init_dir {ticket} --mask_dir {ticket}")
    run("train", flags, tmp_path)
    state, mask = split_state(read(tmp_path / "checkpoint.pth.tar")["state_dict"])
    assert same(mask, masks(found["imp"][0])[1])
    assert int((state[FITTING] != 0).sum()) == count({FITTING: mask[FITTING]})
    assert "2:4 in 1 of 1 layers that it fits" in run_in_process(verify, tmp_path / "checkpoint.pth.tar")[1]


@pytest.mark.parametrize(
    "kind, more",
    [("imp", "--eb_eps 0.3 --eb_arm none --queue_length 2"), ("PrAC", "--no_early_stop"), ("imp", "--random_prune")],
)
def test_a_killed_search_ends_where_an_unbroken_one_does(tmp_path, monkeypatch, kind, more):
    flags = f"{SEARCH} {SAVING} --pattern 1:4 {more}"
    run(kind, flags, tmp_path / "whole")
    run_killed(monkeypatch, kind, flags, tmp_path / "broken", every=7)
    assert_same_files(tmp_path / "whole", tmp_path / "broken")
    assert find_pattern(masks(tmp_path / "whole")[1]) == (1, 4)


def test_the_early_stop_compares_masks_of_the_pattern(tmp_path):
    """From one epoch to the next a group may change two of its entries for each weight that takes another's place."""
    run("imp", f"{SHORT} --pattern 2:4 --eb_eps 0.001 --eb_arm none", tmp_path)
    row = checkpoints(tmp_path)[-1]["rounds"][0]
    kept = 3 * 8 * 9 + 8 * 16 * 9
    assert [distance * kept == pytest.approx(round(distance * kept)) for distance in row["distances"]] == [True, True]
    assert all(distance * kept % 2 == pytest.approx(0, abs=1e-6) for distance in row["distances"])


def test_another_pattern_does_not_go_on_with_it(found):
    folder, _ = found["imp"]
    assert "pattern was 2:4, is 1:4" in run("imp", f"{SEARCH} --pattern 1:4", folder, expect=2)
    assert "pattern was 2:4, is not given" in run("imp", f"{SEARCH} --pruning_times 1", folder, expect=2)


def test_a_pattern_that_fits_no_layer_is_refused(tmp_path):
    out = run("imp", f"{SEARCH} --pattern 2:32", tmp_path / "run", expect=2)
    assert "--pattern 2:32 fits no layer that is pruned" in out and not (tmp_path / "run").exists()


def test_in_the_library_too_a_pattern_is_one_pruning():
    config = PruningConfig(pattern="2:4")
    assert (config.pruning_times, config.rate) == (1, None)
    with pytest.raises(InputError, match="densities and pattern"):
        PruningConfig(pattern="2:4", densities=(0.5,))


def test_a_mask_that_breaks_its_pattern_is_found_out(found, tmp_path):
    content = read(found["imp"][0] / "1checkpoint.pth.tar")
    mask = content["state_dict"][f"{FITTING}_mask"]
    kept, dropped = (tuple(places.nonzero()[0].tolist()) for places in (mask.bool(), ~mask.bool()))
    mask[dropped], mask[kept] = 1, 0  # as many weights as before
    content["state_dict"][f"{FITTING}_orig"][kept] = 0
    write(tmp_path / "1checkpoint.pth.tar", content)
    status, told, _ = run_in_process(verify, tmp_path / "1checkpoint.pth.tar")
    assert status == 1 and "N:M pattern                      BROKEN  2:4 in 0 of 1 layers" in told
    assert "exact density                    holds" in told


def test_an_unstructured_mask_has_none(tmp_path):
    run("imp", f"{SHORT} --pruning_times 1", tmp_path)
    assert "none: the mask is unstructured" in run_in_process(verify, tmp_path / "1checkpoint.pth.tar")[1]
