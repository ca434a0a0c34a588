"""The corpus of the small demo model: the same for the same seed, and without what the evaluation asks."""

import random
from itertools import islice

import jinja2
import pytest

from tools.eval_tiny_model import Score, evaluate, held_out, table
from tools.tiny_corpus import (
    CHAT_TEMPLATE,
    KINDS,
    Example,
    Turn,
    documents,
    draw,
    for_evaluation,
    for_training,
    is_held_out,
    prompt,
    render,
)
from tools.tiny_corpus.chat import tool_call
from tools.tiny_corpus.facts import CAPITALS
from tools.tiny_corpus.scoring import is_right
from tools.tiny_corpus.unknown import unknown


def text_of(example: Example) -> str:
    return "".join(text for text, _ in render(example.turns, example.tools))


def test_the_same_seed_gives_the_same_conversations() -> None:
    assert list(islice(documents(7), 50)) == list(islice(documents(7), 50))
    assert list(islice(documents(7), 50)) != list(islice(documents(8), 50))


def test_about_one_combination_in_ten_is_held_out() -> None:
    assert 850 < sum(is_held_out(f"combination {number}") for number in range(10_000)) < 1_150


@pytest.mark.parametrize("kind", KINDS)
def test_no_example_is_both_learnt_and_asked(kind: str) -> None:
    rng = random.Random(kind)
    learnt = [draw(KINDS[kind], rng) for _ in range(60)]
    asked = [draw(KINDS[kind], rng, held_out=True) for _ in range(20)]
    assert all(for_training(example) and not for_evaluation(example) for example in learnt)
    assert all(for_evaluation(example) and not for_training(example) for example in asked)
    assert not {combo for example in learnt for combo in example.combos} & {example.combos[0] for example in asked}


def test_training_conversations_hold_no_question_of_the_evaluation() -> None:
    """Looks at the text itself, apart from the combinations: kinds whose whole question is the combination."""
    asked = {
        example.turns[-2].content
        for kind in ("sums", "differences", "products", "repeating", "code")
        for example in held_out(kind, 100, seed=2)
    }
    said = {turn.content for document in islice(documents(1), 3_000) for turn in document.turns if turn.role == "user"}
    assert len(asked) > 400
    assert not asked & said


def test_training_conversations_use_training_combinations_only() -> None:
    for document in islice(documents(3), 500):
        assert for_training(document), document.combos


@pytest.mark.parametrize("kind", KINDS)
def test_examples_end_with_the_assistant_and_fit_the_context(kind: str) -> None:
    rng = random.Random(kind)
    for _ in range(20):
        example = draw(KINDS[kind], rng)
        assert example.turns[-1].role == "assistant"
        assert example.turns[-1].content == example.turns[-1].content.strip() != ""
        assert len(text_of(example)) < 12_000
        assert text_of(example).startswith(prompt(example))


def test_arithmetic_answers_are_true() -> None:
    rng = random.Random(1)
    for kind in ("sums", "differences", "products"):
        for _ in range(100):
            left, right = draw(KINDS[kind], rng).turns[-1].content.split(" = ")
            a, sign, b = left.split()
            assert {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign] == int(right)


def test_code_answers_are_valid_python() -> None:
    rng = random.Random(1)
    for _ in range(200):
        answer = draw(KINDS["code"], rng).turns[-1].content
        compile(answer.removeprefix("```python\n").removesuffix("\n```"), "answer", "exec")


def test_what_is_known_is_never_called_unknown() -> None:
    rng = random.Random(1)
    for _ in range(2_000):
        question = unknown(rng).combos[0].lower()
        assert not any(f"capital of {country.lower()}?" in question for country in CAPITALS)


def test_only_the_words_of_the_assistant_are_learnt() -> None:
    turns = (Turn("system", "Be kind."), Turn("user", "Hi!"), Turn("assistant", "Hello!"))
    assert [text for text, learn in render(turns) if learn] == ["Hello!<|im_end|>"]


def test_the_chat_template_renders_as_the_training_text_does() -> None:
    template = jinja2.Environment().from_string(CHAT_TEMPLATE)
    rng = random.Random(4)
    for kind in KINDS:
        example = draw(KINDS[kind], rng)
        if example.tools:
            continue  # plain Jinja sorts keys and escapes; the next test compares tools
        messages = [{"role": turn.role, "content": turn.content} for turn in example.turns[:-1]]
        assert template.render(messages=messages, add_generation_prompt=True) == prompt(example)


def test_the_chat_template_renders_tools_calls_and_results() -> None:
    schema = {"function": {"name": "get_time", "parameters": {}}, "type": "function"}
    arguments = {"city": "Oslo"}
    turns = (
        Turn("system", "Be kind."),
        Turn("user", "What time is it?"),
        Turn("assistant", tool_call("get_time", arguments) + "\n" + tool_call("get_time", {})),
        Turn("tool", "12:00"),
        Turn("tool", "13:00"),
        Turn("assistant", "Noon."),
    )
    calls = [
        {"function": {"name": "get_time", "arguments": arguments}},
        {"function": {"name": "get_time", "arguments": "{}"}},
    ]
    messages = [
        *({"role": turn.role, "content": turn.content} for turn in turns[:2]),
        {"role": "assistant", "content": None, "tool_calls": calls},
        *({"role": turn.role, "content": turn.content} for turn in turns[3:5]),
    ]
    rendered = (
        jinja2.Environment()
        .from_string(CHAT_TEMPLATE)
        .render(messages=messages, tools=[schema], add_generation_prompt=True)
    )
    assert rendered == prompt(Example("tool results", (), turns, (schema,)))


def test_a_tool_call_is_right_when_it_means_the_same() -> None:
    call = tool_call("get_weather", {"city": "Oslo", "unit": "C"})
    example = Example("tool calls", (), (Turn("user", "?"), Turn("assistant", call)))
    assert is_right(
        example, '<tool_call>{"arguments": {"unit": "C", "city": "Oslo"}, "name": "get_weather"}</tool_call>'
    )
    assert not is_right(example, tool_call("get_weather", {"city": "Rome", "unit": "C"}))
    assert not is_right(example, "The weather is fine.")
    assert not is_right(example, call + " and more")


def test_json_is_right_when_it_means_the_same_and_text_only_when_it_is_the_same() -> None:
    turns = (Turn("user", "?"), Turn("assistant", '{"a": 1, "b": 2}'))
    assert is_right(Example("JSON", (), turns), '{"b": 2, "a": 1}')
    assert not is_right(Example("JSON", (), turns), '{"b": 2')
    assert not is_right(Example("facts", (), turns), '{"b": 2, "a": 1}')


def test_the_evaluation_counts_right_and_wrong_answers() -> None:
    score = evaluate("unknown", lambda _: "I do not know that.", count=5, seed=1)
    assert (score.right, score.total, score.accuracy) == (5, 5, 1.0)
    assert evaluate("unknown", lambda _: "Perhaps.", count=5, seed=1).accuracy == 0.0
    assert "| **all** | 5 | 6 | 83.3% |" in table([score, Score("other", 0, [("q", "a", "b")])])


def test_the_evaluation_asks_each_question_once_and_the_same_ones_each_time() -> None:
    asked = [prompt(example) for example in held_out("facts", 40, seed=2)]
    assert len(set(asked)) == len(asked) == 40
    assert asked == [prompt(example) for example in held_out("facts", 40, seed=2)]
