"""The settings: names, precedence, refusals, and what is told to whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings, SettingsError, Variables
from app.settings.reference import effective, env_example
from app.settings.sections import BUNDLED_MODEL, PROJECT_ROOT, ModelSettings, ServerSettings


def load(**environ: str) -> Settings:
    return Settings.load(environ, env_file=None)


def problems(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(**environ)
    return refused.value.problems


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_nothing_set_serves_the_bundled_model_on_loopback() -> None:
    settings = load()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8000)
    assert settings.model.engine == "llama_cpp"
    assert settings.model.bundled
    assert settings.model.name == str(BUNDLED_MODEL)
    assert settings.model.alias == "jarvis-tiny-q8_0"


def test_variables_reach_their_section() -> None:
    settings = load(JARVIS_PORT="9000", JARVIS_INFERENCE_ENGINE="STUB", JARVIS_N_THREADS="3", DEBUG="1")
    assert settings.server.port == 9000
    assert settings.model.engine == "stub"
    assert settings.llama.n_threads == 3
    assert settings.logging.effective_level == "debug"


def test_alias_is_the_file_name_unless_given() -> None:
    assert load(JARVIS_MODEL_NAME="/data/Qwen2.5-0.5B.Q8_0.gguf").model.alias == "Qwen2.5-0.5B.Q8_0"
    assert load(JARVIS_MODEL_NAME="/data/a.gguf", JARVIS_MODEL_ALIAS="org/b").model.alias == "org/b"
    assert load(JARVIS_INFERENCE_ENGINE="stub").model.alias == "stub"


def test_home_is_expanded_in_paths() -> None:
    assert load(JARVIS_MODEL_NAME="~/m.gguf").model.name == str(Path.home() / "m.gguf")


def test_process_environment_wins_over_the_file(env_file: Path) -> None:
    env_file.write_text("JARVIS_PORT=9001\nJARVIS_HOST=localhost\n")
    settings = Settings.load({"JARVIS_PORT": "9002"}, str(env_file))
    assert (settings.server.port, settings.server.host) == (9002, "localhost")


@pytest.mark.parametrize("empty", ["", "   "])
def test_an_empty_value_counts_as_unset(env_file: Path, empty: str) -> None:
    env_file.write_text("JARVIS_PORT=9001\nJARVIS_HOST=\n")
    settings = Settings.load({"JARVIS_PORT": empty}, str(env_file))
    assert (settings.server.port, settings.server.host) == (9001, "127.0.0.1")


def test_the_file_is_data_and_never_executed(env_file: Path, tmp_path: Path) -> None:
    env_file.write_text(f'JARVIS_MODEL_ALIAS="$(touch {tmp_path}/ran)${{HOME}}"\n')
    alias = Settings.load({}, str(env_file)).model.alias
    assert alias == f"$(touch {tmp_path}/ran)${{HOME}}"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            b'# keys\nJARVIS_API_KEYS="sk-canary\nJARVIS_PORT=1\n',
            ", line 2: this is not NAME=value; is a quote missing?",
        ),
        (b"JARVIS_MODEL_ALIAS=caf\xe9\n", " is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_understood_stops_the_start(env_file: Path, content: bytes, problem: str) -> None:
    env_file.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        Settings.load({}, str(env_file))
    assert refused.value.problems == [f"{env_file}{problem}"]


def test_the_file_may_come_from_another_editor(env_file: Path) -> None:
    env_file.write_bytes(b'\xef\xbb\xbfexport JARVIS_PORT=9001\r\n JARVIS_MODEL_ALIAS = "a b" # c\r\nJARVIS_HOST\r\n')
    settings = Settings.load({}, str(env_file))
    assert (settings.server.port, settings.model.alias, settings.server.host) == (9001, "a b", "127.0.0.1")


def test_every_problem_is_named_at_once(env_file: Path) -> None:
    env_file.write_text("JARVIS_FLASH_ATTN=yes\n")
    with pytest.raises(SettingsError) as refused:
        Settings.load({"JARVIS_PORT": "70000", "JARVIS_MODEL_NAMEE": "x"}, str(env_file))
    assert sorted(refused.value.problems) == [
        f"JARVIS_FLASH_ATTN='yes' ({env_file}) must be one of auto, on, off",
        "JARVIS_MODEL_NAMEE='x' (environment) is not a variable of this server; did you mean JARVIS_MODEL_NAME?",
        "JARVIS_PORT='70000' (environment) must be a whole number, from 0 to 65535",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JARVIS_PORT", "eighty"),
        ("JARVIS_PORT", "8000.5"),
        ("JARVIS_HEADER_WAIT_S", "-1"),
        ("JARVIS_HEADER_WAIT_S", "nan"),
        ("JARVIS_N_THREADS", "0"),
        ("JARVIS_INFERENCE_ENGINE", "llama"),
        ("DEBUG", "app:*"),
        ("LLAMA_LOG_LEVEL", "loud"),
        ("JARVIS_MAX_TOKENS", "0"),
        ("JARVIS_QUANTIZATION", "iq1_s"),
        ("JARVIS_N_THREADS_BATCH", "0"),
        ("JARVIS_PREFIX_CACHE_TOKENS", "-1"),
        ("JARVIS_KV_CACHE_TYPE_K", "q3_0"),
        ("JARVIS_MMAP", "maybe"),
        ("JARVIS_SPLIT_MODE", "tensor"),
        ("JARVIS_ROPE_SCALING", "ntk"),
        ("JARVIS_ROPE_FREQ_BASE", "inf"),
        ("JARVIS_ROPE_FREQ_SCALE", "0"),
        ("JARVIS_SPECULATIVE", "yes"),
    ],
)
def test_a_bad_value_is_refused_with_its_name(name: str, value: str) -> None:
    (line,) = problems(**{name: value})
    assert line.startswith(f"{name}='{value}' (environment) must be ")


@pytest.mark.parametrize(("typo", "meant"), [("JARVIS_DEBUG", "DEBUG"), ("JARVIS_THREADS", "JARVIS_N_THREADS")])
def test_the_nearest_name_is_offered(typo: str, meant: str) -> None:
    assert problems(**{typo: "1"})[0].endswith(f"did you mean {meant}?")


def test_variables_of_other_programs_are_left_alone() -> None:
    assert load(PATH="/bin", PORT="nonsense", HOST="0.0.0.0").server.port == 8000


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_an_open_host_needs_a_key(host: str) -> None:
    (line,) = problems(JARVIS_HOST=host)
    assert line.startswith(f"JARVIS_HOST='{host}' can be reached from other machines: set JARVIS_API_KEYS")
    assert load(JARVIS_HOST=host, JARVIS_API_KEYS="k").server.host == host
    assert load(JARVIS_HOST=host, JARVIS_ALLOW_INSECURE="1").server.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_host_needs_none(host: str) -> None:
    assert load(JARVIS_HOST=host).server.loopback


def test_variables_that_contradict_each_other_are_refused() -> None:
    assert "JARVIS_CHAT_FORMAT_FILE" in problems(JARVIS_CHAT_FORMAT="custom")[0]
    assert "JARVIS_CHAT_FORMAT_FILE" in problems(JARVIS_CHAT_FORMAT_FILE="f.toml", JARVIS_CHAT_FORMAT="chatml")[0]
    assert "JARVIS_MAX_TOKENS_LIMIT" in problems(JARVIS_MAX_TOKENS="9", JARVIS_MAX_TOKENS_LIMIT="8")[0]


def test_adapters_have_names_and_paths() -> None:
    value = "sql=/l/sql.gguf, fr-2.b = ~/fr=1.gguf ,"
    adapters = {"sql": "/l/sql.gguf", "fr-2.b": str(Path.home() / "fr=1.gguf")}
    assert load(JARVIS_LORA_ADAPTERS=value).engine_config().adapters == adapters
    listed = effective(load(JARVIS_LORA_ADAPTERS="a=/x,b=/y"), Variables.read({"JARVIS_LORA_ADAPTERS": "_"}, None))
    assert ("JARVIS_LORA_ADAPTERS", "a=/x,b=/y", "environment") in list(listed)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("sql", "'sql' is not name=path"),
        ("sql=", "'sql=' is not name=path"),
        ("=/l/sql.gguf", "'' is no adapter's name"),
        ("a b=/l", "'a b' is no adapter's name"),
        ("a:b=/l", "'a:b' is no adapter's name"),
        (f"{'x' * 65}=/l", "is no adapter's name"),
        ("a=/l,a=/m", "two adapters are called 'a'"),
        (",", "nothing stands between the commas"),
    ],
)
def test_bad_adapters_are_refused_with_what_is_wrong(value: str, fault: str) -> None:
    (line,) = problems(JARVIS_LORA_ADAPTERS=value)
    assert line.startswith(f"JARVIS_LORA_ADAPTERS='{value[:200]}' (environment): ")
    assert fault in line


def test_chat_formats_are_known_under_the_names_that_people_type() -> None:
    assert load(JARVIS_CHAT_FORMAT="Llama-3.1").model.chat_format == "llama3"
    (line,) = problems(JARVIS_CHAT_FORMAT="lama3")
    assert line.startswith("JARVIS_CHAT_FORMAT='lama3' (environment): ")
    assert "chatml" in line and "did you mean 'llama3'" in line


def test_keys_are_split_and_never_shown() -> None:
    settings = load(JARVIS_API_KEYS="canary-1, canary-2,")
    assert [key.get_secret_value() for key in settings.server.api_keys] == ["canary-1", "canary-2"]
    listed = list(effective(settings, Variables.read({"JARVIS_API_KEYS": "canary-1, canary-2"}, None)))
    assert ("JARVIS_API_KEYS", "********", "environment") in listed
    assert "canary" not in f"{settings!r}{listed}{settings.model_dump_json()}"


def test_commas_without_a_key_do_not_open_the_server() -> None:
    assert problems(JARVIS_API_KEYS=" , ") == [
        "JARVIS_API_KEYS=******** (environment): nothing stands between the commas"
    ]


def test_refusals_show_no_secrets() -> None:
    assert "canary" not in "".join(problems(JARVIS_API_KEY="canary", JARVIS_PORT="x", JARVIS_API_KEYS="canary"))


def test_settings_are_frozen_and_closed() -> None:
    with pytest.raises(ValidationError):
        load().server.port = 1
    with pytest.raises(ValidationError):
        ServerSettings.model_validate({"prot": 1})


def test_settings_made_in_code_ignore_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JARVIS_PORT", "9999")
    assert Settings(model=ModelSettings(engine="stub")).server.port == 8000


def test_the_engine_is_told_what_concerns_it() -> None:
    settings = load(
        JARVIS_MODEL_NAME="/m.gguf",
        JARVIS_N_PARALLEL="4",
        JARVIS_KV_CACHE_TYPE="Q8_0",
        DEBUG="1",
        JARVIS_KERNELS="Scalar",
    )
    config = settings.engine_config()
    assert (config.engine, config.model, config.alias) == ("llama_cpp", "/m.gguf", "m")
    assert (config.llama.n_parallel, config.llama.kv_cache_type, config.llama.n_threads) == (4, "q8_0", None)
    assert (config.log_level, config.engine_log_level, config.kernels) == ("debug", "warning", "scalar")


def test_without_an_embedding_model_there_is_no_worker_for_it() -> None:
    assert load().embedding_config() is None


def test_the_embedding_model_has_a_configuration_of_its_own() -> None:
    settings = load(
        JARVIS_MODEL_ALIAS="chat",
        JARVIS_EMBEDDING_MODEL="~/bge-m3.gguf",
        JARVIS_EMBEDDING_CONTEXT_WINDOW="512",
        JARVIS_MODEL_CONTEXT_WINDOW="4096",
        JARVIS_CHAT_FORMAT="chatml",
        JARVIS_LORA_ADAPTERS="a=/l",
        JARVIS_N_THREADS="3",
    )
    config = settings.embedding_config()
    assert config is not None
    assert (config.task, config.engine, config.alias) == ("embed", "llama_cpp", "bge-m3")
    assert (config.model, config.context_window) == (str(Path.home() / "bge-m3.gguf"), 512)
    assert (config.chat_format, config.adapters, config.llama.n_threads) == (None, {}, 3)
    assert settings.engine_config().task == "generate"


def test_the_embedding_model_of_the_stub_is_one_too() -> None:
    config = load(JARVIS_INFERENCE_ENGINE="stub", JARVIS_EMBEDDING_MODEL="words").embedding_config()
    assert config is not None and (config.engine, config.alias) == ("stub", "words")


@pytest.mark.parametrize(
    "given",
    [
        {"JARVIS_MODEL_NAME": "/a/m.gguf", "JARVIS_EMBEDDING_MODEL": "/b/m.gguf"},
        {"JARVIS_MODEL_ALIAS": "m", "JARVIS_EMBEDDING_MODEL": "/x.gguf", "JARVIS_EMBEDDING_ALIAS": "m"},
        {
            "JARVIS_MODEL_ALIAS": "b",
            "JARVIS_LORA_ADAPTERS": "m=/l",
            "JARVIS_EMBEDDING_MODEL": "/x.gguf",
            "JARVIS_EMBEDDING_ALIAS": "b:m",
        },
    ],
)
def test_two_models_must_not_have_one_name(given: dict[str, str]) -> None:
    (line,) = problems(**given)
    assert "m': set JARVIS_EMBEDDING_ALIAS or JARVIS_MODEL_ALIAS" in line


@pytest.mark.parametrize(
    ("name", "value"), [("JARVIS_EMBEDDING_ALIAS", "vectors"), ("JARVIS_EMBEDDING_CONTEXT_WINDOW", "512")]
)
def test_what_is_said_of_an_embedding_model_needs_one(name: str, value: str) -> None:
    assert problems(**{name: value}) == [f"{name} is not read without JARVIS_EMBEDDING_MODEL"]


@pytest.mark.parametrize("variable", ["JARVIS_MODEL_ALIAS", "JARVIS_EMBEDDING_ALIAS"])
@pytest.mark.parametrize("alias", ["default", "Auto", "a\nb", "a\x00", "\x1b[31m", "caf\udce9"])
def test_an_id_that_no_client_could_use_is_refused(variable: str, alias: str) -> None:
    (line,) = problems(JARVIS_EMBEDDING_MODEL="/v.gguf", **{variable: alias})
    assert line.startswith(f"{variable}={alias!r} is no id for a model: it ")
    assert line.endswith(f"; set {variable} to another one")


def test_an_id_from_the_name_of_a_file_is_refused_too() -> None:
    assert problems(JARVIS_MODEL_NAME="/m/Default.gguf")[0].startswith("JARVIS_MODEL_ALIAS='Default' is no id")
    assert problems(JARVIS_MODEL_NAME="/m/.gguf")[0].startswith("JARVIS_MODEL_ALIAS='' is no id")
    assert load(JARVIS_MODEL_NAME="/m/default.gguf", JARVIS_MODEL_ALIAS="default-7b").model.alias == "default-7b"


def test_a_blank_id_is_refused_in_code_too() -> None:
    with pytest.raises(ValidationError, match="JARVIS_MODEL_ALIAS='  ' is no id for a model: it is blank"):
        ModelSettings(alias="  ")


def test_quantisation_is_for_gguf_files() -> None:
    assert load().llama.quantization is None
    assert load(JARVIS_QUANTIZATION="Q4_K_M").engine_config().llama.quantization == "q4_k_m"


def test_workers_see_neither_our_variables_nor_secrets(env_file: Path) -> None:
    env_file.write_text("OMP_NUM_THREADS=2\nANTHROPIC_API_KEY=canary\nJARVIS_PORT=1\nCUDA_VISIBLE_DEVICES=0\n")
    given = {
        "JARVIS_API_KEYS": "canary",
        "OPENAI_API_KEY": "canary",
        "MY_API_KEY_2": "canary",
        "HF_TOKEN": "canary",
        "AWS_SECRET_ACCESS_KEY": "canary",
        "PGPASSWORD": "canary",
    }
    kept = {
        "PATH": "/bin",
        "HOME": "/h",
        "LD_LIBRARY_PATH": "/l",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "https_proxy": "http://p",
        "TOKENIZERS_PARALLELISM": "0",
    }
    settings = Settings.load({}, str(env_file))
    assert settings.worker_environment(given | kept) == kept | {"OMP_NUM_THREADS": "2"}


def test_env_example_is_written_from_the_settings() -> None:
    assert (PROJECT_ROOT / ".env.example").read_text() == env_example()


def test_env_example_uncommented_is_the_default_configuration(env_file: Path) -> None:
    lines = env_example().splitlines()
    env_file.write_text("\n".join(line.removeprefix("# ") for line in lines if "=" in line and " " not in line[2:]))
    assert Settings.load({}, str(env_file)).model_dump() == Settings().model_dump()
    assert len(Variables.read({}, str(env_file)).values) > 10


def test_threads_do_not_spin_for_long_where_two_engines_share_the_cores() -> None:
    assert Settings.load({}, None).worker_environment({}) == {}
    two = Settings.load({"JARVIS_EMBEDDING_MODEL": "e.gguf"}, None)
    assert two.worker_environment({}) == {"GOMP_SPINCOUNT": "2000"}


@pytest.mark.parametrize("own", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "passive"}])
def test_how_long_threads_spin_is_the_users_to_say(own: dict[str, str]) -> None:
    assert Settings.load({"JARVIS_EMBEDDING_MODEL": "e.gguf"}, None).worker_environment(own) == own
