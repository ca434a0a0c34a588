"""The terms of each domain: what its texts are full of, for the words that no example has.

Term lists become short texts of a few terms each. With word vectors they teach the router the neighbourhood of a term.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

TERMS = {
    "general": """
        weather tonight alarm reminder shopping recipe dinner restaurant music playlist movie television joke hello
        thanks birthday calendar meeting schedule travel flight hotel vacation luggage timer translate phone call
        message traffic directions parking kitchen laundry pet dog hobby weekend friend family gift name favorite
        feeling bored advice morning breakfast coffee sleep song volume lights temperature thermostat appointment
        delivery order
    """,
    "technical": """
        server router network firewall windows linux ubuntu driver printer wifi ethernet protocol tcp dns vpn
        encryption certificate password backup disk partition boot bios processor memory kernel docker container
        kubernetes deployment voltage resistor capacitor circuit transistor amplifier motor signal frequency antenna
        compiler cache bandwidth latency database cluster load malware attack vulnerability authentication
        cryptography operating system hardware software configuration update install torque bearing welding machine
        sensor
    """,
    "coding": """
        python javascript java rust typescript function class method variable loop array list dictionary string
        integer pointer recursion algorithm exception traceback compile debug refactor unittest api endpoint json
        regex sql query git commit merge react django flask pandas numpy import return async await thread null
        undefined segfault syntax parser struct interface library package script code program implement complexity
    """,
    "math": """
        equation polynomial integral derivative matrix vector theorem proof lemma prime integer fraction percent
        triangle circle angle radius perimeter area volume probability permutation combination logarithm sine cosine
        limit sequence series sum product divide multiply subtract remainder quotient average ratio group ring field
        homomorphism abelian eigenvalue determinant continuous differentiable topology graph solve calculate total
        many each twice half speed distance coefficient
    """,
    "science": """
        atom molecule electron proton neutron quantum photon wavelength energy momentum gravity mass velocity
        acceleration force entropy thermodynamics heat pressure gas acid base reaction catalyst oxidation ion
        solution element isotope cell membrane dna rna gene protein enzyme evolution species ecosystem
        photosynthesis organism bacteria planet star galaxy orbit telescope climate ocean rock mineral volcano
        sediment fossil magnetic electric spectrum laser oscillation chromosome mitosis allele
    """,
    "medical": """
        patient symptom diagnosis treatment doctor hospital surgery nurse clinical disease syndrome infection fever
        cough headache pain nausea vomiting diarrhea rash swelling artery vein heart lung liver kidney brain nerve
        muscle bone blood pressure glucose insulin diabetes cancer tumor asthma stroke anemia antibiotic vaccine
        dose medication tablet pregnancy fetus pediatric therapy anatomy physiology hormone thyroid cortisol biopsy
        fracture ligament depression anxiety chronic acute prognosis virus viral hiv immune elderly
    """,
    "legal": """
        court judge jury plaintiff defendant lawyer attorney contract breach clause liability negligence damages
        tort statute constitution amendment jurisdiction appeal trial evidence testimony witness verdict felony
        crime criminal murder theft lease tenant landlord eviction copyright trademark patent lawsuit sue settlement
        custody divorce will estate trust property deed easement search warrant arrest treaty law legal rights
        consent consideration offer acceptance privacy compliance sovereignty tribunal
    """,
    "finance": """
        bank account balance transfer deposit withdrawal card credit debit payment refund fee interest rate loan
        mortgage tax income stock bond share dividend portfolio investment market inflation currency exchange budget
        invoice revenue profit cost price accounting asset liability equity audit ledger depreciation capital hedge
        option pension insurance premium economy demand supply monopoly elasticity gdp fiscal monetary unemployment
        marketing management firm consumer atm pin spending bill routing
    """,
    "creative": """
        story poem novel character plot scene dialogue narrator haiku sonnet rhyme lyrics verse screenplay villain
        hero dragon wizard castle fantasy mystery detective ghost romance tale fairy myth roleplay pretend imagine
        write describe chapter paragraph slogan tagline metaphor tone voice limerick monologue protagonist setting
        twist ending prequel fanfiction worldbuilding kingdom magic sword spaceship alien vampire whimsical
        brainstorm
    """,
}
TEXTS, TERMS_PER_TEXT = 80, 5


def term_texts() -> Iterator[tuple[str, str]]:
    """Texts of a few terms with their domain; the same ones every time."""
    chosen = random.Random(6)
    for domain, terms in TERMS.items():
        words = terms.split()
        yield from ((" ".join(chosen.sample(words, TERMS_PER_TEXT)), domain) for _ in range(TEXTS))
