"""The facts the model knows: relations as tables, and several ways to ask for each."""

import random
from dataclasses import dataclass

from .chat import Example, ask
from .words import decorate


@dataclass(frozen=True)
class Relation:
    """A table of facts. `{x}` stands for the key and `{y}` for the value in the questions and the answer."""

    name: str
    table: dict[str, str]
    questions: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Fact:
    """One fact asked in one way; `key` names the fact and `way` the wording."""

    key: str
    way: int
    question: str
    answer: str
    short: str

    @property
    def combo(self) -> str:
        return f"fact:{self.key}:{self.way}"


def _table(text: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in text.split(","))


CAPITALS = _table(
    "France=Paris,Germany=Berlin,Italy=Rome,Spain=Madrid,Portugal=Lisbon,England=London,Ireland=Dublin,Norway=Oslo,"
    "Sweden=Stockholm,Finland=Helsinki,Denmark=Copenhagen,Poland=Warsaw,Austria=Vienna,Greece=Athens,Hungary=Budapest,"
    "Belgium=Brussels,Switzerland=Bern,Russia=Moscow,Turkey=Ankara,Egypt=Cairo,Kenya=Nairobi,Japan=Tokyo,China=Beijing,"
    "India=New Delhi,Canada=Ottawa,Mexico=Mexico City,Brazil=Brasilia,Argentina=Buenos Aires,Australia=Canberra,"
    "the United States=Washington"
)

RELATIONS = (
    Relation(
        "capital",
        CAPITALS,
        (
            "What is the capital of {x}?",
            "Which city is the capital of {x}?",
            "Name the capital of {x}.",
            "Do you know the capital of {x}?",
            "Can you tell me the capital city of {x}?",
            "What's the capital of {x}?",
            "{x}: what is its capital?",
        ),
        "The capital of {x} is {y}.",
    ),
    Relation(
        "author",
        _table(
            "Hamlet=William Shakespeare,Don Quixote=Miguel de Cervantes,Faust=Johann Wolfgang von Goethe,"
            "War and Peace=Leo Tolstoy,Oliver Twist=Charles Dickens,Emma=Jane Austen,Frankenstein=Mary Shelley,"
            "Dracula=Bram Stoker,The Odyssey=Homer,Moby Dick=Herman Melville"
        ),
        (
            "Who wrote {x}?",
            "Who is the author of {x}?",
            "By whom was {x} written?",
            "Name the author of {x}.",
            "Do you know who wrote {x}?",
        ),
        "{x} was written by {y}.",
    ),
    Relation(
        "symbol",
        _table(
            "hydrogen=H,helium=He,carbon=C,nitrogen=N,oxygen=O,sodium=Na,iron=Fe,copper=Cu,silver=Ag,gold=Au,lead=Pb"
        ),
        (
            "What is the chemical symbol of {x}?",
            "What is the symbol for {x}?",
            "Which symbol does {x} have?",
            "Give me the chemical symbol for {x}.",
            "How is {x} written in chemistry?",
        ),
        "The chemical symbol of {x} is {y}.",
    ),
    Relation(
        "count",
        _table(
            "days in a week=7,months in a year=12,hours in a day=24,minutes in an hour=60,seconds in a minute=60,"
            "letters in the English alphabet=26,legs on a spider=8,legs on an insect=6,legs on a dog=4,"
            "sides on a triangle=3,sides on a square=4,sides on a hexagon=6,players in a football team=11,"
            "strings on a violin=4,strings on a guitar=6,planets in the solar system=8,continents on Earth=7,"
            "colours in a rainbow=7,wheels on a bicycle=2,days in a year=365,years in a century=100,"
            "centimetres in a metre=100,grams in a kilogram=1000,bits in a byte=8"
        ),
        (
            "How many {x}?",
            "How many {x} are there?",
            "Tell me how many {x} there are.",
            "What is the number of {x}?",
            "Do you know how many {x} there are?",
        ),
        "There are {y} {x}.",
    ),
    Relation(
        "young",
        _table(
            "dog=puppy,cat=kitten,cow=calf,horse=foal,sheep=lamb,goat=kid,lion=cub,duck=duckling,hen=chick,deer=fawn"
        ),
        (
            "What is a young {x} called?",
            "What do you call a baby {x}?",
            "What is the name for the young of a {x}?",
            "What is the young of a {x} called?",
            "How do we call a young {x}?",
        ),
        "A young {x} is called a {y}.",
    ),
    Relation(
        "colour",
        _table(
            "the sky=blue,grass=green,snow=white,blood=red,coal=black,a banana=yellow,a carrot=orange,the sun=yellow"
        ),
        (
            "What colour is {x}?",
            "Which colour does {x} have?",
            "What is the colour of {x}?",
            "Tell me the colour of {x}.",
            "What color is {x}?",
        ),
        "The colour of {x} is {y}.",
    ),
    Relation(
        "extreme",
        _table(
            "the largest ocean=the Pacific Ocean,the longest river=the Nile,the highest mountain=Mount Everest,"
            "the largest planet=Jupiter,the smallest planet=Mercury,the hottest planet=Venus,"
            "the fastest land animal=the cheetah,the tallest animal=the giraffe,the largest animal=the blue whale,"
            "the largest country=Russia,the largest continent=Asia,the smallest continent=Australia,"
            "the closest star=the Sun,the largest hot desert=the Sahara,the smallest prime number=2,"
            "the first month of the year=January,the last month of the year=December,the shortest month=February,"
            "the red planet=Mars,the freezing point of water=0 degrees Celsius,"
            "the boiling point of water=100 degrees Celsius"
        ),
        (
            "What is {x}?",
            "What's {x}?",
            "Can you name {x}?",
            "Tell me what {x} is.",
            "Do you know what {x} is?",
            "Please name {x}.",
        ),
        "{x} is {y}.",
    ),
    Relation(
        "opposite",
        _table(
            "hot=cold,big=small,day=night,up=down,left=right,young=old,fast=slow,happy=sad,rich=poor,open=closed,"
            "light=dark,wet=dry,full=empty,early=late,high=low,true=false,good=bad,hard=soft,long=short,clean=dirty"
        ),
        (
            "What is the opposite of {x}?",
            "What's the opposite of {x}?",
            "Give me the opposite of {x}.",
            "Which word is the opposite of {x}?",
            "Name the opposite of {x}.",
        ),
        "The opposite of {x} is {y}.",
    ),
    Relation(
        "currency",
        _table(
            "Japan=yen,China=yuan,India=rupee,Russia=rouble,England=pound,Switzerland=franc,Germany=euro,Poland=zloty,"
            "Norway=krone,the United States=dollar"
        ),
        (
            "What is the currency of {x}?",
            "Which currency is used in {x}?",
            "What money do people use in {x}?",
            "Name the currency of {x}.",
            "How do people pay in {x}?",
        ),
        "The currency of {x} is the {y}.",
    ),
    Relation(
        "inventor",
        _table(
            "the telephone=Alexander Graham Bell,the light bulb=Thomas Edison,the theory of relativity=Albert Einstein,"
            "penicillin=Alexander Fleming,radium=Marie Curie,the printing press=Johannes Gutenberg,"
            "the law of gravity=Isaac Newton,Python=Guido van Rossum,Linux=Linus Torvalds,"
            "the World Wide Web=Tim Berners-Lee"
        ),
        (
            "Who is known for {x}?",
            "Who gave us {x}?",
            "Who invented {x}?",
            "Whom do we thank for {x}?",
            "Which person is known for {x}?",
            "Who discovered {x}?",
        ),
        "{y} is known for {x}.",
    ),
    Relation(
        "sound",
        _table(
            "dog=barks,cat=meows,cow=moos,horse=neighs,sheep=bleats,lion=roars,duck=quacks,wolf=howls,pig=grunts,snake=hisses"
        ),
        (
            "What sound does a {x} make?",
            "Which noise does a {x} make?",
            "How does a {x} sound?",
            "What does a {x} do to be heard?",
            "Tell me the sound of a {x}.",
        ),
        "A {x} {y}.",
    ),
)


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def make(relation: Relation, key: str, way: int) -> Fact:
    """One row of a relation asked in one of its ways."""
    value = relation.table[key]
    question = _capitalised(relation.questions[way].format(x=key))
    answer = _capitalised(relation.answer.format(x=key, y=value))
    return Fact(f"{relation.name}:{key}", way, question, answer, _capitalised(value))


_ROWS = [(relation, key) for relation in RELATIONS for key in relation.table]


def pick(rng: random.Random) -> Fact:
    """A fact at random, each fact equally likely."""
    relation, key = rng.choice(_ROWS)
    return make(relation, key, rng.randrange(len(relation.questions)))


def fact(rng: random.Random) -> Example:
    """A question for a known fact."""
    chosen = pick(rng)
    return ask("facts", chosen.combo, decorate(rng, chosen.question), chosen.answer)
