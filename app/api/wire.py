"""The request bodies, as clients send them: types and ranges only, `null` meaning "not given".

Fields that are not translated are declared too. Harmless ones (`Ignored`, `Echoed`) are accepted and named in the
`x-jarvis-ignored` header. Those of features that are not offered are `Any`: `app.api.parameters` accepts only values
that ask for nothing. Every other field is unknown, and refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

Anything = Raw | UnsetType

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
TokenIds = list[TokenId]
Temperature = Annotated[float, Meta(ge=0, le=2)]
TopK = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
TopP = Annotated[float, Meta(gt=0, le=1)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Factor = Annotated[float, Meta(gt=0, le=10)]
Bias = Annotated[float, Meta(ge=-100, le=100)]
Alternatives = Annotated[int, Meta(ge=0, le=20)]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
StopText = Annotated[str, Meta(min_length=1, max_length=1_000)]
CacheSalt = Annotated[str, Meta(min_length=1, max_length=1_000)]
Priority = Annotated[int, Meta(ge=0, le=1_000)]
ToolCallId = Annotated[str, Meta(min_length=1, max_length=1_000)]


class StreamOptions(Struct, forbid_unknown_fields=True):
    """`include_obfuscation` pads chunks on OpenAI's servers; there is nothing to pad here."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchemaFormat(Struct, forbid_unknown_fields=True):
    """The schema of an answer; its name and description are for the reader, and it is always enforced strictly."""

    name: str | None = None
    description: str | None = None
    schema: Anything = UNSET
    strict: bool | None = None


class ResponseFormat(Struct, forbid_unknown_fields=True):
    """What an answer must be: `text`, `json_object` (of a `schema`, as llama.cpp has it) or `json_schema`."""

    type: str
    json_schema: JsonSchemaFormat | None = None
    schema: Anything = UNSET


class StructuredOutputs(Struct, forbid_unknown_fields=True):
    """vLLM's way to say what an answer must be."""

    json: Anything = UNSET
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None


class Ignored(Struct, kw_only=True):
    """Parameters that change nothing about the answer of a local server."""

    metadata: Anything = UNSET
    parallel_tool_calls: Anything = UNSET
    prediction: Anything = UNSET
    prompt_cache_key: Anything = UNSET
    prompt_cache_retention: Anything = UNSET
    reasoning_effort: Anything = UNSET
    safety_identifier: Anything = UNSET
    service_tier: Anything = UNSET
    store: Anything = UNSET
    user: Anything = UNSET
    verbosity: Anything = UNSET


class Constraints(Ignored, kw_only=True):
    """The ways to say what an answer must be: OpenAI's, two of vLLM's, llama-server's. Only one may be used."""

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Anything = UNSET
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    grammar: str | None = None
    json_schema: Anything = UNSET


class GenerationBody(Constraints, kw_only=True):
    """What chat and text completions have in common."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Positive | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    min_tokens: Count | None = None
    stop: StopText | list[StopText] | None = None
    stop_token_ids: TokenIds | None = None
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    skip_special_tokens: bool | None = None
    temperature: Temperature | None = None
    top_k: TopK | None = None
    top_p: TopP | None = None
    min_p: Probability | None = None
    typical_p: TopP | None = None
    repetition_penalty: Factor | None = None
    repeat_penalty: Factor | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Int64 | None = None
    logit_bias: dict[TokenId, Bias] | None = None
    cache_salt: CacheSalt | None = None
    priority: Priority | None = None


class FunctionCall(Struct, kw_only=True):
    """`arguments` is a JSON text."""

    name: str
    arguments: str


class WireToolCall(Struct, kw_only=True):
    """A call in an assistant message of the history; some clients send the `index` of the streamed delta back."""

    id: ToolCallId
    function: FunctionCall
    type: str = "function"


class WirePart(Struct):
    """A part of a message's content; which fields it has depends on its type."""

    type: str
    text: str | None = None
    refusal: str | None = None


class Echoed(Struct, kw_only=True):
    """What servers add to the messages of their answers, and clients send back with the history."""

    annotations: Any = UNSET
    audio: Any = UNSET
    provider_specific_fields: Any = UNSET
    reasoning_details: Any = UNSET
    refusal: Any = UNSET


class WireMessage(Echoed, forbid_unknown_fields=True, kw_only=True):
    """One message of any role; `app.api.messages` knows which role needs what."""

    role: str
    content: str | list[WirePart] | None = None
    name: str | None = None
    tool_calls: list[WireToolCall] | None = None
    tool_call_id: ToolCallId | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    function_call: None = None


class ChatBody(GenerationBody, forbid_unknown_fields=True, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[WireMessage], Meta(min_length=1)]
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    audio: Any = None
    function_call: Any = None
    functions: Any = None
    modalities: Any = None
    tool_choice: Any = None
    tools: Any = None
    logprobs: bool | None = None
    top_logprobs: Alternatives | None = None
    web_search_options: Any = None


class CompletionBody(GenerationBody, forbid_unknown_fields=True, kw_only=True):
    """`POST /v1/completions`."""

    prompt: str | list[str | TokenId | TokenIds]
    echo: bool | None = None
    logprobs: Alternatives | None = None
    best_of: Any = None
    suffix: Any = None


class EmbeddingBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /v1/embeddings`: one text, several, the token ids of one, or those of several."""

    input: str | list[str | TokenId | TokenIds]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Positive | None = None
    user: Anything = UNSET


class RouteBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /v1/route`: either `input` or `messages`; `chunk_tokens` is the step of the timeline."""

    input: str | list[str] | None = None
    messages: list[WireMessage] | None = None
    chunk_tokens: Positive | None = None


class TokenizeBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /tokenize`: exactly one of `content` and `prompt`."""

    model: str | None = None
    content: str | None = None
    prompt: str | None = None
    add_special: bool = False
    with_pieces: bool = False


class DetokenizeBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /detokenize`."""

    tokens: TokenIds
    model: str | None = None
