"""Definitions of terms from WordNet 3.0, by domain: texts for `tools.train_router`.

    python -m tools.definitions FILE.jsonl

Debian's package wordnet-base has the database (`apt-get download`, nothing is installed). A synset belongs to a domain
by the topic it is marked with or because it lies below one of the domain's roots; what belongs to two is left out.
Format: the manual page wndb(5WN) of that package. Licence: WordNet 3.0, which allows any use with its notice.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TOPICS = {
    "legal": "law crime criminal_law contract jurisprudence international_law civil_law roman_law copyright",
    "medical": """medicine anatomy pathology physiology psychiatry surgery dentistry obstetrics immunology drug
        psychoanalysis pharmacology neurology cardiology ophthalmology dermatology virus epidemiology embryology
        psychology""",
    "science": """chemistry biology physics botany genetics geology astronomy zoology biochemistry ecology cosmology
        physical_chemistry optics meteorology thermodynamics electricity bacteria organism mineralogy nuclear_physics
        crystallography quantum_mechanics mechanics microbiology evolution molecular_biology geography""",
    "math": "mathematics statistics geometry arithmetic trigonometry algebra calculus topology set_theory logic",
    "technical": """computer_science computer electronics telecommunication engineering computing internet network
        electrical_engineering aeronautics mechanical_engineering telegraphy radio rocketry""",
    "finance": """commerce economics stock_exchange accounting finance corporation tax commercial_enterprise
        stock_market exchange banking insurance business marketing money""",
    "creative": """poetry literature prosody dramaturgy writing folklore drama theater mythology legend fiction
        Arthurian_legend rhetoric""",
    "multilingual": "linguistics grammar phonetics language",
    "general": """music sport cooking baseball golf card_game football driving travel dancing tennis basketball
        air_travel furniture television boxing cricket soccer sports game chess photography car""",
}
"""By domain: words whose synsets are its topics."""
ROOTS = {
    "medical": """illness.1 symptom.1 medicine.2 medical_procedure.1 therapy.1 doctor.1 body_part.1
        physiological_state.1 injury.1 body_fluid.1 hormone.1 nurse.1 medical_practice.1 mental_disorder.1 infection.1
        antibody.1 medical_instrument.1""",
    "legal": """legal_document.1 crime.1 law.1 law.2 lawyer.1 court.1 judgment.4 proceeding.1 legal_right.1 litigant.1
        legal_action.1 wrongdoing.2 due_process.1 judge.1 legal_status.1 property_right.1""",
    "finance": """financial_institution.1 payment.1 debt.1 investment.2 tax.1 cost.1 income.1 security.4 currency.1
        fund.1 loan.1 financial_condition.1 assets.1 financier.1 commerce.1 financial_loss.1 insurance.1 account.3
        economic_theory.1 market.1 stock.1""",
    "science": """chemical_element.1 chemical_reaction.1 celestial_body.1 elementary_particle.1 physical_phenomenon.1
        natural_process.1 organic_compound.1 compound.2 protein.1 cell.2 rock.2 scientist.1 radiation.1
        natural_science.1 wave.3 energy.1 scientific_instrument.1 enzyme.1 chromosome.1 geological_formation.1 gas.2
        force.2""",
    "math": """mathematical_statement.1 polygon.1 function.6 mathematical_relation.1 mathematics.1 calculation.2
        mathematical_process.1 matrix.1 polyhedron.1 plane_figure.1 variable.1 mathematician.1 ratio.1 equation.1
        theorem.1 curve.1""",
    "technical": """electronic_equipment.1 computer.1 computer_network.1 electronic_device.1 computer_circuit.1
        peripheral.1 engine.1 circuit.1 electrical_device.1 machine.1 engineering.2 measuring_instrument.1
        memory_device.1 data_processing.1""",
    "coding": "programming_language.1 program.7 software.1 algorithm.1 data_structure.1 subroutine.1",
    "creative": """poem.1 story.1 story.2 fiction.1 literary_composition.1 writer.1 fictional_character.1
        imaginary_being.1 play.1 lyric.1 rhyme.1 trope.1""",
    "general": """dish.2 meal.1 sport.1 clothing.1 furniture.1 holiday.1 relative.1 pet.1 vacation.1 home_appliance.1
        vehicle.1 song.1 beverage.1 restaurant.1 movie.1 weather.1 party.2 travel.1 journey.1 emotion.1 fruit.1
        gift.1 musical_instrument.1""",
    "multilingual": "natural_language.1 word.1",
}
"""By domain: nouns with the number of their sense, below which all synsets are its own."""
MOST = 1000
"""Definitions of one domain; drawn by chance from those that have more."""
_PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
_TOPIC, _BELOW = ";c", ("~", "~i")

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Synset:
    """Words of one meaning, its pointers (symbol, key) to others, and its definition with examples."""

    words: tuple[str, ...]
    pointers: tuple[tuple[str, Key], ...]
    gloss: str

    @property
    def text(self) -> str:
        """The words, then what they mean."""
        return f"{', '.join(word.replace('_', ' ') for word in self.words)}: {self.gloss}"


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Definitions of terms from WordNet, by domain.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--database", type=Path, help="the folder with data.noun; fetched where this is not given")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.database or fetched(Path(scratch))
        rows = list(definitions(synsets(folder), senses(folder / "index.noun")))
    lines = (json.dumps({"text": text, "domain": domain, "source": "wordnet"}) for text, domain in rows)
    given.file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def fetched(scratch: Path) -> Path:
    """The database from Debian's package, unpacked in `scratch`."""
    subprocess.run(["apt-get", "--quiet", "download", "wordnet-base"], check=True, cwd=scratch)
    [package] = scratch.glob("wordnet-base_*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, scratch / "unpacked"], check=True)
    return scratch / "unpacked" / "usr" / "share" / "wordnet"


def synsets(folder: Path) -> dict[Key, Synset]:
    """All synsets of the database, by part of speech and offset."""
    found = {}
    for name, part in _PARTS.items():
        for line in _lines(folder / f"data.{name}"):
            fields, _, gloss = line.partition("|")
            found[part, line[:8]] = parsed(fields.split(), gloss.strip())
    return found


def parsed(fields: list[str], gloss: str) -> Synset:
    """A line of a data file: `offset file kind count word id ... count symbol offset kind place ...`."""
    words = 2 * int(fields[3], 16)
    first = 5 + words
    pointers = [fields[first + 4 * n : first + 4 * n + 3] for n in range(int(fields[first - 1]))]
    return Synset(
        tuple(fields[4 : 4 + words : 2]),
        tuple((symbol, ("a" if part == "s" else part, offset)) for symbol, offset, part in pointers),
        gloss,
    )


def senses(index: Path) -> dict[str, list[str]]:
    """The offsets of a noun's senses, the commonest first."""
    rows = (line.split() for line in _lines(index))
    return {fields[0]: fields[-int(fields[2]) :] for fields in rows}


def _lines(path: Path) -> Iterator[str]:
    """The lines after the licence, whose own begin with a space."""
    return (line for line in path.read_text("latin-1").splitlines() if not line.startswith(" "))


def definitions(found: Mapping[Key, Synset], nouns: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Texts with their domain, the same ones every time."""
    domains = by_topic(found)
    for domain, roots in ROOTS.items():
        for root in roots.split():
            word, _, sense = root.rpartition(".")
            for key in below(found, ("n", nouns[word][int(sense) - 1])):
                domains[key].add(domain)
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for key, names in sorted(domains.items()):
        if len(names) == 1:
            texts[next(iter(names))].append(found[key].text)
    chance = random.Random(6)
    for domain in sorted(texts):
        chance.shuffle(texts[domain])
        yield from ((text, domain) for text in texts[domain][:MOST])


def by_topic(found: Mapping[Key, Synset]) -> defaultdict[Key, set[str]]:
    """The domains of the synsets that are marked with a topic."""
    domain_of = {topic: domain for domain, topics in TOPICS.items() for topic in topics.split()}
    domains: defaultdict[Key, set[str]] = defaultdict(set)
    for key, synset in found.items():
        for symbol, target in synset.pointers:
            if symbol == _TOPIC and (domain := domain_of.get(found[target].words[0])):
                domains[key].add(domain)
    return domains


def below(found: Mapping[Key, Synset], root: Key) -> set[Key]:
    """The synset and all that are kinds or instances of it."""
    seen: set[Key] = set()
    waiting = [root]
    while waiting:
        key = waiting.pop()
        if key not in seen:
            seen.add(key)
            waiting += [target for symbol, target in found[key].pointers if symbol in _BELOW]
    return seen


if __name__ == "__main__":
    main()
