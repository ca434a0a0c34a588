"""The training of the small demo model, on a still smaller one. Needs torch, which the proxy itself does not."""

from itertools import islice
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tools.tiny_corpus.bpe import train_tokenizer  # noqa: E402
from tools.tiny_corpus.gguf_file import Shape, gguf_tensors  # noqa: E402
from tools.tiny_corpus.packing import Batch, batches  # noqa: E402
from tools.train_tiny_model import Llama, Training, rate, start, train, weights_of  # noqa: E402

SMALL = Shape(vocab_size=640, intermediate_size=64, num_hidden_layers=2)
TRAINING = Training(steps=4, batch_tokens=2_048, warmup=2, checkpoint_every=2)


@pytest.fixture(scope="module")
def some_batches() -> list[Batch]:
    tokenizer = train_tokenizer(SMALL.vocab_size, seed=1, samples=300)
    return list(islice(batches(tokenizer, 1, TRAINING.batch_tokens, TRAINING.short, TRAINING.long), TRAINING.steps))


def loss(model: Llama, batch: Batch) -> float:
    with torch.no_grad():
        return float(model(batch))


def test_the_learning_rate_rises_stays_and_falls() -> None:
    training = Training(steps=100, warmup=10, decay_share=0.3)
    assert rate(0, training) == pytest.approx(0.1)
    assert rate(50, training) == 1.0
    assert rate(85, training) == pytest.approx(0.5)
    assert rate(99, training) < 0.05


def test_the_loss_falls_and_a_checkpoint_is_kept(some_batches: list[Batch], tmp_path: Path) -> None:
    run = start(SMALL, TRAINING)
    before = loss(run.model, some_batches[0])
    train(run, iter(some_batches), TRAINING, tmp_path / "checkpoint.pt")
    assert run.step == TRAINING.steps
    assert loss(run.model, some_batches[0]) < before
    resumed = start(SMALL, TRAINING)
    resumed.load(tmp_path / "checkpoint.pt")
    assert resumed.step == TRAINING.steps
    assert torch.equal(resumed.model.embed_tokens.weight, run.model.embed_tokens.weight)


def test_a_conversation_sees_nothing_of_its_neighbours(some_batches: list[Batch]) -> None:
    batch = some_batches[0]
    last = batch.owner[0].max()
    only_last = Batch(batch.ids[:1], batch.owner[:1], batch.weight[:1] * (batch.owner[:1] == last))
    changed = only_last.ids.copy()
    changed[batch.owner[:1] < last] = 7
    model = start(SMALL, TRAINING).model
    assert loss(model, only_last) == pytest.approx(loss(model, Batch(changed, only_last.owner, only_last.weight)))


def test_a_fresh_model_already_copies() -> None:
    """The token after an earlier occurrence of the present one is expected far above chance."""
    torch.manual_seed(0)
    ids = torch.randperm(600)[:40].repeat(1, 2)
    weight = torch.zeros(ids.shape)
    weight[:, 45:] = 1.0
    batch = Batch(ids.numpy(), torch.ones_like(ids).numpy(), weight.numpy())
    shuffled = Batch(torch.randperm(600)[:80].reshape(1, 80).numpy(), batch.owner, batch.weight)
    model = start(SMALL, TRAINING).model
    assert loss(model, batch) < loss(model, shuffled) - 0.5


def test_every_weight_finds_its_place_in_the_file() -> None:
    weights = weights_of(start(SMALL, TRAINING).model)
    tensors = gguf_tensors(weights, SMALL)
    assert sum(tensor.size for tensor in tensors.values()) == sum(weight.size for weight in weights.values())
