"""Natural prompts for the speculation benchmark, put together from parts by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable

_FIRST = (
    *("Ada", "Ben", "Clara", "Diego", "Elena", "Farid", "Greta", "Hugo", "Ines"),
    *("Jonas", "Katya", "Liam", "Mona", "Nils", "Olga", "Pablo", "Rosa", "Sven"),
)
_LAST = (
    *("Brook", "Carter", "Duval", "Engel", "Fisher", "Garcia", "Hansen", "Ito"),
    *("Jansen", "Keller", "Lopez", "Meyer", "Novak", "Okafor", "Petrov"),
)
_CITIES = ("Lisbon", "Oslo", "Vienna", "Dublin", "Porto", "Geneva", "Bologna", "Toronto", "Nagoya", "Leeds")
_GOODS = (
    "standing desk",
    "coffee grinder",
    "rain jacket",
    "desk lamp",
    "hiking backpack",
    "electric kettle",
    "bread knife",
    "wool blanket",
    "bicycle pump",
    "garden hose",
)
_FAULTS = (
    "arrived with a broken hinge",
    "stopped working after two days",
    "is the wrong colour",
    "was delivered to my neighbour",
    "makes a loud rattling noise",
    "came without the manual",
)


def _order(chance: random.Random) -> tuple[str, str]:
    """Return a message and what is to be extracted from it."""
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    city, goods, fault = chance.choice(_CITIES), chance.choice(_GOODS), chance.choice(_FAULTS)
    order, year = (
        f"{chance.choice('ABCDEF')}-{chance.randrange(10_000, 99_999)}",
        chance.randrange(2021, 2026),
    )
    email = f"{first.lower()}.{last.lower()}@example.com"
    text = (
        f"Hello, my name is {first} {last} and I live in {city}. In {year} I bought a {goods} from "
        f"your shop, order number {order}. Unfortunately the {goods} {fault}. Please write to {email}."
    )
    record = (
        f'{{"name": "{first} {last}", "city": "{city}", "product": "{goods}", "order_number": "{order}", '
        f'"year": {year}, "problem": "{fault}", "email": "{email}"}}'
    )
    return text, record


def json_extraction(chance: random.Random) -> str:
    text, record = _order(chance)
    other, _ = _order(chance)
    return (
        "Extract the facts of each customer message as one JSON object.\n\n"
        f"Message: {text}\nJSON: {record}\n\nMessage: {other}\nJSON:"
    )


_FUNCTIONS = (
    """def {f}(items, limit):
    total = 0
    for item in items:
        if item.price > limit:
            continue
        total += item.price * item.quantity
    return total""",
    """def {f}(path, limit):
    counts = {{}}
    with open(path) as handle:
        for line in handle:
            for word in line.lower().split():
                counts[word] = counts.get(word, 0) + 1
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    return ranked[:limit]""",
    """class {c}:
    def __init__(self, limit):
        self.limit = limit
        self.items = []

    def add(self, item):
        if len(self.items) >= self.limit:
            self.items.pop(0)
        self.items.append(item)

    def {f}(self):
        return sum(self.items) / len(self.items)""",
    """def {f}(values, limit):
    result = []
    for index, value in enumerate(values):
        if index >= limit:
            break
        if value is None:
            result.append(0)
        else:
            result.append(value * 2)
    return result""",
)
_FUNCTION_NAMES = [
    "collect_totals",
    "average_of_last",
    "scan_values",
    "load_report",
    "count_entries",
    "merge_rows",
]
_NEW_NAMES = ["max_count", "threshold", "cutoff", "upper_bound", "ceiling", "capacity"]


def code_edit(chance: random.Random) -> str:
    name = chance.choice(_FUNCTION_NAMES)
    code = chance.choice(_FUNCTIONS).format(f=name, c=name.title().replace("_", ""))
    new = chance.choice(_NEW_NAMES)
    return (
        f"Rename the variable `limit` to `{new}` in this Python code. Answer with the complete code only.\n\n"
        f"```python\n{code}\n```"
    )


_SENTENCES = (
    "The {place} was built by {who} in {year} and has been repaired three times since.",
    "Every spring the water rises above the lower steps and the boats are moved behind the {place}.",
    "{who} kept a diary in which the weather of each day was noted before anything else.",
    "The first visitors came by train from {city}, and most of them stayed for a single night.",
    "A small museum beside the {place} shows tools, letters and photographs of the workers.",
    "Nobody remembers why the {place} was painted blue, although there are several stories about it.",
    "In {year} the council of {city} decided to keep the {place} open through the winter.",
    "On clear days the mountains can be seen from the {place}, and in fog not even the road.",
)
_PLACES = ["lighthouse", "mill", "bridge", "harbour", "station", "observatory", "windmill", "ferry", "house"]


def quoting(chance: random.Random) -> str:
    place, city = chance.choice(_PLACES), chance.choice(_CITIES)
    who = f"{chance.choice(_FIRST)} {chance.choice(_LAST)}"
    sentences = [
        sentence.format(place=place, city=city, who=who, year=chance.randrange(1840, 1990))
        for sentence in chance.sample(_SENTENCES, 5)
    ]
    return f"Repeat the following text word for word.\n\n{' '.join(sentences)}"


_TOPICS = (
    "tide pools",
    "cast iron pans",
    "the metric system",
    "glaciers",
    "honey bees",
    "railway gauges",
    "sourdough bread",
    "chess openings",
    "volcanic islands",
    "bicycle gears",
    "migrating birds",
    "early telescopes",
    "tea ceremonies",
    "desert plants",
    "paper making",
)
_ASKS = (
    "Explain {} to a curious child.",
    "Give me a short history of {}.",
    "What do most people get wrong about {}?",
    "Write a friendly letter to a magazine about {}.",
)


def free_chat(chance: random.Random) -> str:
    return chance.choice(_ASKS).format(chance.choice(_TOPICS))


WORKLOADS: dict[str, Callable[[random.Random], str]] = {
    "json extraction": json_extraction,
    "code edit": code_edit,
    "quoting": quoting,
    "free chat": free_chat,
}


def natural_prompts(workload: str, count: int, seed: int) -> list[str]:
    """Return `count` different prompts of a workload."""
    chance = random.Random(f"{workload}:{seed}")
    found: dict[str, None] = {}
    while len(found) < count:
        found[WORKLOADS[workload](chance)] = None
    return list(found)
