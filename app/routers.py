"""The router of a server: the built-in domains, the user's own routes, and which expert has which."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import UnknownModelError
from app.experts.catalog import Catalog
from app.routing import built_in
from app.routing.own import OwnRoute, RoutesError, parse
from app.settings import Settings, SettingsError
from backends.base import UnsupportedError

if TYPE_CHECKING:
    from app.routing.joint import OwnHead
    from app.routing.own_fit import WordVectors
    from app.routing.router import IncrementalSemanticRouter

logger = logging.getLogger(__name__)

WORD_DIMENSIONS = 160
"""Numbers of a word's vector that own routes are fitted with; the first ones say most."""


def own_routes(settings: Settings, catalog: Catalog) -> tuple[OwnRoute, ...]:
    """The routes of the user's file; none without one.

    Raises:
        SettingsError: the file cannot be read, or something in it cannot be used.
    """
    name = settings.routing.routes
    if name is None:
        return ()
    try:
        found = parse(Path(name).read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError([f"JARVIS_ROUTES: {name} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"JARVIS_ROUTES: {name} is not UTF-8 text"]) from None
    except RoutesError as error:
        raise SettingsError([f"JARVIS_ROUTES: {name}: {problem}" for problem in error.problems]) from None
    if wrong := list(_unknown_experts(found, catalog)):
        raise SettingsError([f"JARVIS_ROUTES: {name}: {problem}" for problem in wrong])
    return found


def _unknown_experts(routes: Sequence[OwnRoute], catalog: Catalog) -> Iterator[str]:
    for route in routes:
        try:
            catalog.locate(route.expert, "generate")
        except (UnknownModelError, UnsupportedError) as error:
            yield f"[{route.name}] expert: {error}"


def router_for(settings: Settings, catalog: Catalog) -> IncrementalSemanticRouter:
    """The router. Own routes that were not fitted before are fitted now, which takes a second for 20 with 50 examples.

    Raises:
        SettingsError: as `own_routes`.
        DamagedWeightsError: the file of the built-in weights is missing or damaged.
    """
    from app.routing.joint import joined
    from app.routing.router import IncrementalSemanticRouter

    routes = own_routes(settings, catalog)
    experts = {route.built_in or route.name: catalog.locate(route.expert, "generate").id for route in routes}
    weights, described = built_in(), [route for route in routes if route.built_in is None]
    default = catalog.locate(None, "generate").id
    if not described:
        return IncrementalSemanticRouter(weights, experts, default, settings.routing.precision)
    joint = joined(weights, own_head(described, Path(settings.cache_dir)))
    return IncrementalSemanticRouter(joint, experts, default, settings.routing.precision)


def own_head(routes: Sequence[OwnRoute], cache: Path) -> OwnHead:
    """The head of these routes, fitted or from the cache."""
    from app.embedding.file import read as embedder_file
    from app.routing import own_file
    from app.routing.own_fit import ENOUGH_EXAMPLES, fit_own
    from app.routing.packs import sample
    from app.routing.weights_file import read as weights_file

    few = [route.name for route in routes if len(route.examples) < ENOUGH_EXAMPLES]
    if few:
        logger.warning(
            "JARVIS_ROUTES: fewer than %d examples: %s; these routes answer rarely, more examples help",
            ENOUGH_EXAMPLES,
            ", ".join(few),
        )
    others = list(sample())
    key = ("\n".join(others).encode(), weights_file(), embedder_file())
    path = own_file.path_for(cache / "routes", routes, *key)
    if (found := own_file.load(path)) is not None:
        return found
    began = time.monotonic()
    head = fit_own(routes, others, built_in().model, word_vectors())
    logger.info("fitted %d routes in %.2f s: %s", len(routes), time.monotonic() - began, told(head))
    try:
        own_file.save(path, head)
    except OSError as error:
        logger.warning("%s cannot be written (%s): routes are fitted at every start", path, error.strerror)
    return head


def told(head: OwnHead) -> str:
    """How good a head is."""
    return f"{head.accuracy:.0%} of the examples are right where each is left out of its own fit"


def word_vectors() -> WordVectors:
    """Those of the embedding that ships, scaled to a mean square length of 1."""
    import numpy as np

    from app.embedding import built_in as embedder
    from app.routing.features import BUCKETS
    from app.routing.own_fit import WordVectors
    from kernels import TextState, text_features

    state = TextState(BUCKETS)
    words, vectors = embedder().words()
    features = [text_features(word.encode(), state, last=True) for word in words]
    rows = np.array([ids[0] if ids.size else -1 for ids in features])
    unique, places = np.unique(rows, return_index=True)
    unique, places = unique[unique >= 0], places[unique >= 0]
    kept = vectors[places, :WORD_DIMENSIONS]
    return WordVectors(unique, kept / np.float32(np.sqrt((kept * kept).sum(1).mean())))
