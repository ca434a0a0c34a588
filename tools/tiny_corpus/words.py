"""Word lists, and the means to make words that no list holds."""

import random


def listed(text: str, separator: str | None = None) -> list[str]:
    return text.split(separator)


NAMES = listed(
    "Ada Alan Alice Amir Anna Ben Bruno Carla Carlos Chloe Clara Daniel David Dora Elena Eli Ella Emil Emma Eric "
    "Eva Felix Finn Frank Freya Grace Greta Hana Hugo Ian Ida Igor Ines Iris Ivan Jack Jane Jonas Julia Kai Karim "
    "Kate Lara Laura Lena Leo Liam Lily Lina Louis Lucy Luis Maja Marco Maria Mark Marta Max Mia Milo Mina Nadia "
    "Nina Noah Nora Oleg Olga Olivia Omar Oscar Otto Paul Peter Petra Priya Rania Raj Rita Robin Rosa Ruth Sam Sara "
    "Sofia Stella Sven Tara Theo Tim Tom Uma Vera Victor Viola Walter Yara Yuki Zoe"
)
CITIES = listed(
    "Paris Rome Berlin Madrid London Lisbon Vienna Oslo Athens Dublin Prague Warsaw Cairo Tokyo Delhi Lima Quito "
    "Boston Chicago Seattle Denver Dallas Miami Toronto Montreal Sydney Perth Auckland Munich Hamburg Cologne Milan "
    "Turin Naples Lyon Nice Bordeaux Zurich Geneva Basel Bruges Ghent Porto Seville Valencia Barcelona Oxford Leeds "
    "York Glasgow Edinburgh Cardiff Belfast Krakow Gdansk Riga Vilnius Tallinn Helsinki Stockholm Bergen Aarhus "
    "Istanbul Ankara Nairobi Lagos Accra Dakar Tunis Mumbai Kolkata Bangkok Hanoi Manila Jakarta Seoul Osaka Kyoto "
    "Beijing Shanghai Bogota Santiago"
)
COLOURS = listed("red blue green yellow orange purple pink brown black white grey gold silver turquoise violet")
ANIMALS = listed(
    "dog cat horse cow sheep pig goat lion tiger bear wolf fox rabbit mouse elephant giraffe zebra monkey camel deer"
)
BIRDS = listed("eagle owl parrot penguin duck goose swan crow sparrow robin")
FRUITS = listed("apple banana cherry orange pear grape lemon mango peach plum")
VEGETABLES = listed("carrot potato onion cabbage pea bean leek spinach cucumber pumpkin")
TOOLS = listed("hammer saw screwdriver drill wrench chisel axe shovel rake pliers")
INSTRUMENTS = listed("piano guitar violin flute drum trumpet harp cello clarinet organ")
SPORTS = listed("football tennis basketball swimming running cycling rowing boxing golf skiing")
VEHICLES = listed("car bus train bicycle truck boat plane tram ship scooter")
FLOWERS = listed("rose tulip daisy lily violet orchid sunflower poppy iris daffodil")
CLOTHES = listed("shirt coat hat scarf sock shoe glove dress jacket belt")
OBJECTS = listed(
    "lamp chair table book phone key bottle cup bag box clock mirror pen knife spoon candle basket ladder rope towel "
    "pillow blanket camera radio wallet ticket letter map coin ring"
)
JOBS = listed(
    "teacher nurse doctor baker farmer pilot painter lawyer engineer gardener writer singer chef driver dentist"
)
FOODS = listed("pizza pasta soup rice bread cheese salad sushi curry cake pancakes noodles tacos dumplings porridge")
ROOMS = ("kitchen", "bedroom", "bathroom", "garage", "hall", "office", "living room", "garden", "attic", "cellar")
WEEKDAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = listed("January February March April May June July August September October November December")
TOPICS = listed(
    "music,history,physics,gardening,politics,chess,astronomy,poetry,fishing,cooking,philosophy,painting,economics,"
    "biology,architecture,quantum mechanics,machine learning,the stock market,the Roman Empire,jazz,opera,modern art,"
    "black holes,the weather,democracy,religion,dreams,love,time travel,photosynthesis,evolution,inflation,blockchain,"
    "climate change,electricity,gravity,magnetism,nuclear power,deep sea fishing,ancient Egypt,grammar",
    ",",
)

_ONSETS = listed("b br c ch cl d dr f fl g gr h j k kl l m n p pr qu r s sh sk st t th tr v w z")
_VOWELS = listed("a e i o u a e i o ai ea oo")
_CODAS = ["", "", "", "n", "r", "l", "s", "m", "t", "k", "x", "nd", "rn"]


def made_up(rng: random.Random, syllables: int = 0) -> str:
    """A pronounceable word of two or three syllables in lower case."""
    count = syllables or rng.choice((2, 2, 3))
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(count))


def invented(rng: random.Random, share: float = 0.15) -> bool:
    """Whether to use an invented word now: rarely, so that copying is learnt on common words first."""
    return rng.random() < share


def person(rng: random.Random) -> str:
    """A first name, mostly one that exists."""
    return rng.choice(NAMES) if rng.random() < 0.85 else made_up(rng).capitalize()


def city(rng: random.Random) -> str:
    """A city, mostly one that exists, now and then of two words."""
    chance = rng.random()
    if chance < 0.85:
        return rng.choice(CITIES)
    name = made_up(rng).capitalize()
    return f"{rng.choice(('New', 'San', 'Port', 'North'))} {name}" if chance > 0.95 else name


def number(rng: random.Random) -> str:
    """A whole number of one to four digits."""
    return str(rng.randrange(10 ** rng.randint(1, 4)))


_FRONTS = (
    "Please tell me: ",
    "Jarvis, ",
    "Hey Jarvis, ",
    "Quick question: ",
    "Tell me, ",
    "Hello! ",
    "Hi, ",
    "Ok, ",
    "So, ",
)
_BACKS = (" Thanks!", " Thank you.", " Please answer.", " I need to know.")


def decorate(rng: random.Random, question: str) -> str:
    """The same question as people type it: with a greeting, in lower case, without its question mark."""
    chance = rng.random()
    if chance < 0.5:
        return question
    if chance < 0.7:
        front = rng.choice(_FRONTS)
        lowered = question if question.startswith("I ") else question[0].lower() + question[1:]
        return front + (question if front.endswith("! ") else lowered)
    if chance < 0.8:
        return question + rng.choice(_BACKS)
    if chance < 0.89:
        return question.lower().rstrip("?.!")
    if chance < 0.91:
        return question.upper()
    return question.rstrip("?.!") if chance < 0.97 else question.lower()
