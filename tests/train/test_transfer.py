import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from realm.core.errors import ConfigError
from realm.core.jsonl import read_jsonl
from realm.core.records import Judged
from realm.method.parse import parse_completion
from realm.train import rl, transfer
from realm.train.arguments import make_grpo_arguments
from realm.train.grader import Graded
from realm.train.transfer import (
    Credit,
    Transfer,
    can_be_credited,
    find_reasoning_start,
    measure_token_logps,
    transfer_loss,
)
from tiny import make_tiny, make_tokenizer
from tiny_rl import GRPO, TRAIN, make_config, make_run

torch.set_num_threads(1)

TOKENIZER = make_tokenizer()
GOOD = (
    "<verify>\nRoute 1: holds sound\n</verify>\n<reason>\n9 - 3 = 6\n</reason>\n<answer>6</answer>"
)
REASONING = GOOD[GOOD.index("<reason>") :]


def ids_of(text):
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def graded(text=GOOD, *, right=True, labels=(True,)):
    said = parse_completion(text, len(labels))
    judged = Judged(
        text=text,
        correct=right,
        verdicts=said.verdicts,
        labels=labels,
        reasoning=said.reasoning,
        well_formed=said.well_formed,
    )
    return Graded(judged=judged, terms={}, reward=None, copied=None)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return AutoModelForCausalLM.from_pretrained(make_tiny(tmp_path_factory.mktemp("tiny"), "qwen2"))


def make_transfer(*, parts=1, weight=1.0):
    return Transfer(
        weight,
        read=TOKENIZER.decode,
        encode=lambda problem_id: ids_of(f"Q {problem_id}\n"),
        num_parts=parts,
        num_completions=4,
    )


@pytest.mark.parametrize(
    ("one", "credited"),
    [
        pytest.param(graded(), True, id="a success with routes"),
        pytest.param(graded(right=False), False, id="a failure"),
        pytest.param(graded(REASONING, labels=()), False, id="no routes were shown"),
        pytest.param(graded(REASONING), False, id="no verification, so not well formed"),
        pytest.param(
            graded(GOOD.replace("9 - 3", "as route 1 says, 9 - 3")),
            False,
            id="its reasoning leans on a route",
        ),
        pytest.param(
            graded(GOOD.replace("9 - 3", "Solution 2: 9 - 3")),
            False,
            id="its reasoning cites a solution",
        ),
    ],
)
def test_only_a_success_whose_reasoning_stands_alone_is_credited(one, credited):
    assert can_be_credited(one) is credited


def test_the_credited_tokens_are_those_from_the_reasoning_on():
    ids = ids_of(GOOD)
    assert TOKENIZER.decode(ids[find_reasoning_start(ids, TOKENIZER.decode) :]) == REASONING
    assert find_reasoning_start(ids_of("no block"), TOKENIZER.decode) is None
    assert find_reasoning_start([], TOKENIZER.decode) is None


def test_a_block_that_begins_inside_a_token_is_not_credited():
    words = ["</verify>\n<rea", "son>r</reason>"]
    assert find_reasoning_start([0, 1], lambda ids: "".join(words[place] for place in ids)) is None


def test_log_probabilities_do_not_depend_on_the_padding(model):
    texts = [("a long question, and more of it", "yes"), ("q", "an answer")]
    batch = [Credit(prompt=ids_of(q), completion=ids_of(a)) for q, a in texts]
    together, said = measure_token_logps(model, batch, "cpu")
    for place, credit in enumerate(batch):
        alone, _ = measure_token_logps(model, [credit], "cpu")
        assert said[place].sum() == len(credit.completion)
        assert torch.allclose(together[place][said[place] == 1], alone[0], atol=1e-5)
    prompt, completion = batch[0].prompt, batch[0].completion
    logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(completion)[:, None])[:, 0]
    assert torch.allclose(measure_token_logps(model, batch[:1], "cpu")[0][0], expected, atol=1e-5)


def test_the_gradient_does_not_vanish_where_a_token_is_unlikely_without_routes():
    logps = torch.tensor([[-0.1, -30.0]], requires_grad=True)
    transfer_loss(logps, torch.ones(1, 2), 1).backward()
    assert logps.grad.tolist() == [[-0.5, -0.5]]


def test_a_step_makes_the_reasoning_likelier_without_routes(model):
    model = copy.deepcopy(model)
    given = make_transfer()
    figures = given.collect([("p", graded(), ids_of(GOOD))])
    [credit] = given.credits
    assert figures == {"transfer_share": 1.0}
    assert TOKENIZER.decode(credit.prompt) == "Q p\n"
    assert TOKENIZER.decode(credit.completion) == REASONING

    def likelihood():
        with torch.no_grad():
            return float(measure_token_logps(model, [credit], "cpu")[0].sum())

    before = likelihood()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    loss = given.next_loss(model, "cpu")
    loss.backward()
    optimizer.step()
    assert loss > 0 and likelihood() > before


def test_a_short_credit_weighs_as_much_as_a_long_one():
    logps = torch.tensor([[0.0, -2.0], [-1.0, -3.0]])
    said = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    assert float(transfer_loss(logps, said, num_completions=4)) == pytest.approx((2.0 + 2.0) / 4)


def test_the_loss_is_that_of_the_credits_over_all_completions_times_the_weight(model):
    tried = [(name, graded(), ids_of(GOOD)) for name in ("p", "q", "p")]
    losses = []
    for weight in (1.0, 0.5):
        given = make_transfer(weight=weight)
        assert given.collect(tried) == {"transfer_share": 2 / 3}, "one credit a problem"
        losses.append(float(given.next_loss(model, "cpu").detach()))
    assert losses[1] == pytest.approx(losses[0] / 2)


def test_without_credits_the_loss_is_nothing_and_still_has_its_forward_pass(model):
    given = make_transfer(parts=2)
    failed = ("p", graded(right=False), ids_of(GOOD))
    assert given.collect([failed]) == {"transfer_share": 0.0}
    for _ in range(4):
        loss = given.next_loss(model, "cpu")
        assert float(loss.detach()) == 0.0 and loss.requires_grad


@pytest.fixture
def generous(monkeypatch):
    """Credit every assisted completion from its second token on; a random model solves none."""
    monkeypatch.setattr(transfer, "can_be_credited", lambda one: bool(one.judged.labels))
    monkeypatch.setattr(
        transfer, "find_reasoning_start", lambda ids, read: 1 if len(ids) > 1 else None
    )


def weights_after(folder, fade, name):
    config = make_config(
        folder, train=TRAIN | {"fade": TRAIN["fade"] | fade, "grpo": GRPO | {"max_steps": 2}}
    )
    run = make_run(folder, config, name=name)
    rl.run_train(run)
    return AutoModelForCausalLM.from_pretrained(run.path("model")).state_dict(), read_jsonl(
        run.path("fade.jsonl")
    )


@pytest.mark.slow
def test_in_training_the_credits_move_the_model_and_are_logged(tmp_path, generous):
    make_tiny(tmp_path / "model", "qwen2")
    off, _ = weights_after(tmp_path, {"dropout": 0.0}, "off")
    on, fade = weights_after(tmp_path, {"dropout": 0.0, "transfer": 1.0}, "on")
    assert any(not torch.equal(off[name], on[name]) for name in off)
    assert [row["transfer_share"] for row in fade] == [0.5, 0.5]


def test_off_means_that_nothing_of_it_runs(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("it ran")

    monkeypatch.setattr(rl, "Transfer", refuse)
    make_tiny(tmp_path / "model", "qwen2")
    _, fade = weights_after(tmp_path, {}, "off")
    assert not any(name.startswith("transfer_") for row in fade for name in row)


def test_private_thinking_cannot_be_transferred(tmp_path):
    config = make_config(
        tmp_path, prompt={"think_end": "</think>"}, train=TRAIN | {"fade": {"transfer": 0.5}}
    )
    with pytest.raises(
        ConfigError, match=r"train\.fade\.transfer: found 0\.5 with prompt\.think_end"
    ):
        make_grpo_arguments(config, tmp_path, num_problems=6)


def test_a_credit_weighs_the_same_however_an_update_is_split(tmp_path, monkeypatch):
    make_tiny(tmp_path / "model", "qwen2")
    trainers = []
    monkeypatch.setattr(rl, "train_to_end", lambda trainer, name: trainers.append(trainer))
    monkeypatch.setattr(rl, "count_budget", lambda trainer: {})
    monkeypatch.setattr(rl, "save_policy", lambda *args: None)
    for size, parts in ((8, 1), (4, 2), (2, 4)):
        grpo = {"per_device_train_batch_size": size, "gradient_accumulation_steps": parts}
        config = make_config(
            tmp_path,
            train=TRAIN | {"fade": TRAIN["fade"] | {"transfer": 0.25}, "grpo": GRPO | grpo},
        )
        rl.run_train(make_run(tmp_path, config, name=f"{parts}"))
    assert [trainer._transfer.num_completions for trainer in trainers] == [8, 8, 8]
    # So Transformers does not divide the loss by the number of micro-batches.
    assert trainers[0].loss_is_scaled_for_ga is True


def test_the_trainer_adds_the_loss_to_trls_with_the_weight_of_the_config(tmp_path, monkeypatch):
    make_tiny(tmp_path / "model", "qwen2")
    seen, loss = [], torch.tensor(2.0)
    monkeypatch.setattr(rl.SharedPrefixTrainer, "compute_loss", lambda *args: loss)

    def next_loss(self, model, device):
        seen.append(self.weight)
        return torch.tensor(3.0)

    def compute(self, *args, **kwargs):
        self._transfer.next_loss = next_loss.__get__(self._transfer)
        self.model.train()
        seen.append(float(self.compute_loss(self.model, {})))

    monkeypatch.setattr(rl.ReaLMTrainer, "train", compute)
    config = make_config(tmp_path, train=TRAIN | {"fade": TRAIN["fade"] | {"transfer": 0.25}})
    rl.run_train(make_run(tmp_path, config))
    assert seen == [0.25, 5.0]
