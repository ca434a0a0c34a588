"""The values that cross between the edge and an engine: requests in, events out.

Everything here is an immutable `msgspec` struct, because the same values travel as msgpack frames between the edge and
an engine worker (`backends.worker`). A field that is `None` was not given by anybody: the engine then takes the model's
own default, and after that the OpenAI API's.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
EngineName = Literal["llama_cpp", "vllm", "stub"]
Maker = EngineName | Literal["static"]
"""Engines that a worker hosts, and the one that needs none."""
Task = Literal["generate", "embed"]
Switch = Literal["auto", "on", "off"]
Speculation = Literal["off", "ngram"]
KVCacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
Quantization = Literal[
    "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_1", "q5_0", "q4_k_m", "q4_k_s", "q4_1", "q4_0", "iq4_nl",
    "iq4_xs", "q3_k_l", "q3_k_m", "q3_k_s", "iq3_m", "iq3_s", "q2_k",
]  # fmt: skip
SplitMode = Literal["none", "layer", "row"]
RopeScaling = Literal["none", "linear", "yarn", "longrope"]
VLLMQuantization = Literal[
    "awq", "gptq", "awq_marlin", "gptq_marlin", "compressed-tensors", "fp8", "fp8_per_tensor", "fp8_per_block",
    "int8_per_channel_weight_only", "experts_int8", "mxfp4", "modelopt", "quark", "torchao",
]  # fmt: skip
VLLMDtype = Literal["auto", "float32", "bfloat16", "float16"]
ExecutorBackend = Literal["mp", "ray"]

LONGEST_DEFAULT_WINDOW = 8192
"""Tokens of context per request when nothing is configured and the model was trained on more."""

PRIORITY_NORMAL = 0
PRIORITY_SPECULATIVE = -1
"""Priority of work that nobody waits for yet (prefilling a draft): spare capacity only, dropped first."""


class TextPart(Struct, frozen=True, tag="text"):
    """A piece of text in a message."""

    text: str


Part = TextPart
"""One part of a message's content; a tagged union as soon as there is a second kind."""


class ToolCall(Struct, frozen=True):
    """A call that an assistant message made; `arguments` is a JSON text, as on the wire."""

    id: str
    name: str
    arguments: str


class Message(Struct, frozen=True):
    """One message of a conversation. `developer` has become `system` before it gets here."""

    role: Role
    parts: tuple[Part, ...] = ()
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str | None = None

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts)


class Tool(Struct, frozen=True):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool = False


class SamplingParams(Struct, frozen=True, kw_only=True):
    """How the next token is drawn. `None`: the model's default, else OpenAI's (temperature 1, top_p 1, others off)."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    logit_bias: dict[int, float] = {}


class StopParams(Struct, frozen=True, kw_only=True):
    """When a choice ends.

    `max_tokens=None` runs to the end of the context; `0` evaluates the prompt and stops. `stop` texts are excluded from
    the answer unless `include_stop` is set. Token counts are per choice.
    """

    max_tokens: int | None = None
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop: bool = False
    ignore_eos: bool = False


class TemplateOptions(Struct, frozen=True, kw_only=True):
    """How messages become a prompt. `continue_final_message` leaves the last message open for the model to go on."""

    add_generation_prompt: bool = True
    continue_final_message: bool = False


class Constraint(Struct, frozen=True):
    """A language that the answer must belong to, enforced while sampling.

    `value` is its source: JSON for schemas and for the list of a choice. `param` is where the request gave it, for
    errors.
    """

    kind: Literal["json_object", "json_schema", "regex", "choice", "lark", "gbnf"]
    value: str = ""
    param: str = "response_format"


class GenerationRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request to generate. Exactly one of `messages`, `prompt` and `token_ids` is given.

    `logprobs` is the number of alternatives wanted per token (`None`: no log-probabilities at all). `cache_salt` and
    `adapter` are part of the key under which prompt prefixes are shared.
    """

    id: str
    messages: tuple[Message, ...] | None = None
    prompt: str | None = None
    token_ids: tuple[int, ...] | None = None
    sampling: SamplingParams = SamplingParams()
    stopping: StopParams = StopParams()
    template: TemplateOptions = TemplateOptions()
    n: int = 1
    echo: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    skip_special_tokens: bool = True
    constraint: Constraint | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    adapter: str | None = None
    cache_salt: str | None = None
    priority: int = PRIORITY_NORMAL


class Accepted(Struct, frozen=True, tag="accepted"):
    """The first event of a stream: the prompt is tokenised and has its place in the KV cache."""

    prompt_tokens: int
    cached_tokens: int = 0


class TokenLogprob(Struct, frozen=True, array_like=True):
    """Natural-log probability of one token, with the bytes that it stands for, and the most probable ones in its place.

    The first token of a prompt follows nothing and so has no probability: `None`. Bytes of control tokens are written
    out; `shown` is false for a token whose bytes are not part of the text: the end of an answer, a BOS.
    """

    token_id: int
    logprob: float | None
    raw: bytes
    top: tuple[tuple[int, float, bytes], ...] = ()
    shown: bool = True


class ToolCallDelta(Struct, frozen=True):
    """A fragment of a tool call; `id` and `name` stand in the first fragment of each `index` only."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Timings(Struct, frozen=True):
    """Where one choice's time went, in seconds of a monotonic clock."""

    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0


class Usage(Struct, frozen=True):
    """Token counts of one choice; `prompt_tokens` is the same for every choice of a request."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class Delta(Struct, frozen=True, tag="delta", omit_defaults=True):
    """What one engine step added to one choice. `finish_reason` and `usage` come with the choice's last delta.

    With log-probabilities asked for, `logprobs` has one entry per id in `token_ids`, in order: none is left out, be it
    the end of the answer or part of a stop text. An echoed prompt comes first, in one or several deltas without
    `token_ids`, with an entry for each token of the prompt.
    """

    index: int = 0
    text: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning: str = ""
    tool_call: ToolCallDelta | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    timings: Timings | None = None


Event = Accepted | Delta


class Embedding(Struct, frozen=True, tag="embedding"):
    """The vector of one input: little-endian float32 numbers of norm 1, and how many tokens the input has."""

    vector: bytes
    tokens: int


class Capabilities(Struct, frozen=True, kw_only=True):
    """What an engine can do, declared once at start and never probed."""

    chat: bool = True
    embeddings: bool = False
    constraints: bool = False
    logprobs: bool = False
    adapters: bool = False
    prefill_only: bool = False
    infill: bool = False
    typical_p: bool = False


class ModelInfo(Struct, frozen=True, kw_only=True):
    """What is known of a loaded model. `context_window` is tokens per request, `kv_cells` the tokens all share."""

    name: str
    architecture: str
    context_window: int
    trained_context: int
    kv_cells: int
    vocab_size: int
    parameters: int
    size_bytes: int
    chat_format: str
    engine: Maker
    engine_version: str


class TokenPiece(Struct, frozen=True):
    """One token: its id and the bytes that it stands for."""

    id: int
    raw: bytes


class LlamaOptions(Struct, frozen=True, kw_only=True):
    """What only llama.cpp understands. `None` leaves the choice to the engine, or to the model where it has one.

    `kv_cells` is what all sequences share. `prefix_cache_tokens` are the tokens of past prompts and answers that are
    remembered, in the KV cache and in a store beside it.
    `kv_cache_type_k` and `_v` replace `kv_cache_type` for keys and values. `tensor_split` are proportions, one per GPU.
    Weights in full precision are turned into `quantization` when a file is loaded for the first time.
    """

    n_threads: int | None = None
    n_threads_batch: int | None = None
    n_batch: int = 512
    n_parallel: int = 8
    kv_cells: int | None = None
    prefix_cache_tokens: int | None = None
    n_gpu_layers: int = -1
    split_mode: SplitMode = "layer"
    main_gpu: int = 0
    tensor_split: tuple[float, ...] = ()
    mmap: bool = True
    mlock: bool = False
    flash_attn: Switch = "auto"
    kv_cache_type: KVCacheType = "f16"
    kv_cache_type_k: KVCacheType | None = None
    kv_cache_type_v: KVCacheType | None = None
    rope_scaling: RopeScaling | None = None
    rope_freq_base: float | None = None
    rope_freq_scale: float | None = None
    yarn_orig_ctx: int | None = None
    speculative: Speculation = "off"
    quantization: Quantization | None = None

    @property
    def cache_types(self) -> tuple[KVCacheType, KVCacheType]:
        """Number formats of the cached keys and of the cached values."""
        return self.kv_cache_type_k or self.kv_cache_type, self.kv_cache_type_v or self.kv_cache_type


class VLLMOptions(Struct, frozen=True, kw_only=True):
    """What only vLLM understands. `None` leaves the choice to the engine, which looks at the machine and the model.

    `gpu_memory_utilization` is the share of a GPU's memory that the engine may fill; `cpu_kvcache_space` is in GiB.
    """

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    gpu_memory_utilization: float = 0.9
    quantization: VLLMQuantization | None = None
    dtype: VLLMDtype = "auto"
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    enable_prefix_caching: bool = True
    enable_chunked_prefill: bool = True
    enforce_eager: bool | None = None
    distributed_executor_backend: ExecutorBackend | None = None
    cpu_kvcache_space: float | None = None
    enable_lora: bool = False
    trust_remote_code: bool = False


class EngineConfig(Struct, frozen=True, kw_only=True):
    """All that a worker is told about the engine it hosts. `None` leaves the choice to the engine.

    `task` says what the model is for; `context_window` bounds one request; `adapters` are paths of LoRA files by the
    names that requests use. `kernels` is the level of the kernels, one that this machine has. `options` carries what
    the stub understands, already validated by the settings.
    """

    engine: Maker
    model: str
    alias: str
    cache_dir: str
    task: Task = "generate"
    chat_format: str | None = None
    chat_format_file: str | None = None
    context_window: int | None = None
    adapters: dict[str, str] = {}
    llama: LlamaOptions = LlamaOptions()
    vllm: VLLMOptions = VLLMOptions()
    kernels: str = "auto"
    log_level: str = "info"
    engine_log_level: str = "warning"
    options: dict[str, Any] = {}
