"""The stories that `passages.py` tells: facts, questions, and what spoils each of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Story:
    """Facts and questions; each is a tuple of renderings of the same statement."""

    facts: tuple[tuple[str, ...], ...]
    asked: tuple[str, ...]
    also: tuple[str, ...]
    """Questions that are not the one asked."""
    added: tuple[str, ...]
    """Facts that change the answer; without digits, so that counting numbers does not tell."""
    vague: tuple[str, ...]
    """The facts without what makes them count; "" where a fact has no such form."""


STORIES = (
    Story(
        (
            (
                "{n} buys {a} {x} at {p}.",
                "At {p}, {n} purchases {a} {x}.",
                "{n} went to {p} and got {a} {x}.",
            ),
            ("Each one costs ${b}.", "The price of each is ${b}.", "They are sold at ${b} apiece."),
            ("{n} pays with a ${c} note.", "A ${c} note is used by {n} to pay.", "{n} hands over ${c}."),
        ),
        ("How much change does {n} get?", "What amount is given back to {n}?", "Calculate {n}'s change."),
        ("How much do the {x} cost altogether?", "What does one of the {x} cost?", "How many {x} are there?"),
        (
            "The shop takes off half of the price.",
            "A friend pays for the first of them.",
            "{n} also buys a bag.",
        ),
        ("{n} buys some {x} at {p}.", "Each one has a price.", "{n} pays with a bank note."),
    ),
    Story(
        (
            (
                "{n} picks {a} {x} in the morning.",
                "In the morning {n} gathers {a} {x}.",
                "Before noon, {n} collects {a} {x}.",
            ),
            (
                "After lunch {n} picks {b} more.",
                "Another {b} are gathered after lunch.",
                "In the afternoon {n} adds {b} to them.",
            ),
            (
                "{m} picks twice as many as {n}.",
                "{m} gathers double the number that {n} does.",
                "{m}'s pile is two times {n}'s.",
            ),
        ),
        (
            "How many {x} do they have together?",
            "What is the total number of {x} of both?",
            "Find the combined number of {x}.",
        ),
        (
            "How many {x} does {m} have?",
            "How many more {x} than {n} does {m} have?",
            "How many did {n} pick at noon?",
        ),
        (
            "In the evening {n} gives all the morning ones away.",
            "{m} then drops half of the pile.",
            "{m} takes what {n} has.",
        ),
        ("{n} picks {x} in the morning.", "After lunch {n} picks a few more.", "{m} picks more than {n}."),
    ),
    Story(
        (
            (
                "A train leaves with {a} passengers.",
                "There are {a} people on a train when it departs.",
                "A train sets off carrying {a} travellers.",
            ),
            (
                "At the first stop {b} get off.",
                "{b} of them leave at the first stop.",
                "The first stop sees {b} passengers step out.",
            ),
            (
                "At the next stop {c} get on.",
                "{c} people board at the following stop.",
                "The stop after that adds {c} passengers.",
            ),
        ),
        (
            "How many are on the train now?",
            "What is the number of passengers then?",
            "Determine how many people the train carries in the end.",
        ),
        (
            "How many people left the train?",
            "How many people were on board at the beginning?",
            "How many seats are free?",
        ),
        (
            "Nobody who got on stays longer than one stop.",
            "As many again get on at the last stop.",
            "Half of those left get off at the bridge.",
        ),
        (
            "A train leaves with passengers.",
            "At the first stop some get off.",
            "At the next stop a few get on.",
        ),
    ),
    Story(
        (
            (
                "{n} reads {a} pages every day.",
                "Each day {n} gets through {a} pages.",
                "{n}'s daily reading is {a} pages.",
            ),
            ("The book has {b} pages.", "There are {b} pages in the book.", "It is a book of {b} pages."),
            ("On Sundays {n} does not read.", "{n} takes Sundays off.", "No pages are read on Sundays."),
        ),
        (
            "How many days does it take to finish?",
            "After how many days is the book finished?",
            "Calculate the days needed to complete it.",
        ),
        (
            "How many pages are left after one week?",
            "How many pages are read in a month?",
            "On which weekday does {n} finish?",
        ),
        (
            "{n} has already read a third of it.",
            "{n} reads every page twice.",
            "On Saturdays {n} reads double.",
        ),
        ("{n} reads some pages every day.", "The book is long.", ""),
    ),
    Story(
        (
            (
                "A tank holds {a} liters of water.",
                "The capacity of a tank is {a} liters.",
                "Up to {a} liters of water fit in a tank.",
            ),
            (
                "A pump fills {b} liters a minute.",
                "Every minute {b} liters flow in from a pump.",
                "The pump adds {b} liters per minute.",
            ),
            (
                "A leak loses {c} liters a minute.",
                "{c} liters drain away each minute through a leak.",
                "Because of a leak, {c} liters escape per minute.",
            ),
        ),
        (
            "How long until the tank is full?",
            "After how many minutes is the tank full?",
            "What time does it take to fill the tank?",
        ),
        (
            "How much water was lost?",
            "How fast would it fill without the leak?",
            "How much water is in the tank after an hour?",
        ),
        (
            "At the start the tank is half full.",
            "The leak grows to double its size at once.",
            "A second pump like it is switched on.",
        ),
        ("A tank holds a lot of water.", "A pump fills it steadily.", "A leak loses a little of it."),
    ),
    Story(
        (
            (
                "{n} earns ${a} an hour.",
                "{n}'s hourly wage is ${a}.",
                "For each hour of work {n} receives ${a}.",
            ),
            (
                "{n} works {b} hours a week.",
                "Every week {n} is on duty for {b} hours.",
                "The working week of {n} has {b} hours.",
            ),
            ("Rent takes ${c} of it.", "${c} goes to rent.", "{n} spends ${c} on housing."),
        ),
        (
            "How much remains each week?",
            "What is {n} left with per week?",
            "Find the amount left over every week.",
        ),
        ("How much does {n} earn in a week?", "What share goes to rent?", "How many hours pay for the rent?"),
        (
            "The pay is doubled at night and all work is at night.",
            "{m} borrows half of the rest.",
            "Taxes take a quarter before that.",
        ),
        ("{n} earns a good wage.", "{n} works all week.", "Rent takes part of it."),
    ),
    Story(
        (
            (
                "A school has {a} classes.",
                "There are {a} classes at a school.",
                "A school is made up of {a} classes.",
            ),
            (
                "Every class has {b} students.",
                "Each of them consists of {b} pupils.",
                "{b} students belong to each class.",
            ),
            (
                "{c} students are ill today.",
                "Today {c} of the students are sick.",
                "Because of illness {c} pupils stay at home today.",
            ),
        ),
        (
            "How many students came today?",
            "What is the number of students present today?",
            "Calculate today's attendance.",
        ),
        (
            "How many students does the school have?",
            "What percentage is ill?",
            "How many teachers are needed?",
        ),
        (
            "One whole class is on a trip.",
            "Half of the others come late but miss the count.",
            "Each student brings a sibling.",
        ),
        ("A school has several classes.", "Every class has students.", "Some students are ill today."),
    ),
    Story(
        (
            (
                "{n} is {a} years older than {m}.",
                "The age of {n} exceeds {m}'s by {a} years.",
                "{m} is {a} years younger than {n}.",
            ),
            ("{m} is {b} years old.", "{m} has lived for {b} years.", "The age of {m} is {b}."),
            (
                "Their grandmother is {c} times as old as {m}.",
                "The grandmother's age is {c} times that of {m}.",
                "Grandmother is {c} times {m}'s age.",
            ),
        ),
        (
            "How old are all of them together?",
            "What do their three ages add up to?",
            "Find the sum of the ages of the three.",
        ),
        (
            "How old is {n}?",
            "How old will {m} be when {n} retires?",
            "How much older is the grandmother than {n}?",
        ),
        (
            "{m}'s twin is to be counted too.",
            "Count the age of {n} twice.",
            "The grandmother's husband is as old as she is and counts.",
        ),
        ("{n} is older than {m}.", "{m} is young.", "Their grandmother is much older than {m}."),
    ),
    Story(
        (
            (
                "A baker makes {a} loaves.",
                "{a} loaves are baked by a baker.",
                "A baker takes {a} loaves out of the oven.",
            ),
            (
                "A {f} of them are sold before noon.",
                "Before noon, customers buy a {f} of them.",
                "A {f} of the loaves go before midday.",
            ),
            (
                "In the evening {b} loaves are given to neighbors.",
                "{b} loaves go to the neighbors in the evening.",
                "Neighbors receive {b} loaves at night.",
            ),
        ),
        (
            "How many loaves are left?",
            "What number of loaves remains?",
            "Find out how many loaves remain at the end.",
        ),
        (
            "How many loaves were sold before noon?",
            "How much money did the baker take?",
            "How many neighbors are there?",
        ),
        (
            "The rest is split with a helper who keeps half.",
            "As many are baked again at night.",
            "All the unsold ones of yesterday are added.",
        ),
        (
            "A baker makes loaves.",
            "Some of them are sold before noon.",
            "In the evening a few loaves are given to neighbors.",
        ),
    ),
    Story(
        (
            (
                "{n} drives {a} miles to {p}.",
                "The drive of {n} to {p} is {a} miles.",
                "To reach {p}, {n} covers {a} miles by car.",
            ),
            (
                "The car needs a gallon for every {b} miles.",
                "Per gallon the car goes {b} miles.",
                "With one gallon, {b} miles can be driven.",
            ),
            (
                "Fuel costs ${c} a gallon.",
                "A gallon of fuel is ${c}.",
                "The price of fuel is ${c} per gallon.",
            ),
        ),
        (
            "What does the fuel for the trip cost?",
            "How much is spent on fuel for this drive?",
            "Calculate the cost of fuel for the journey.",
        ),
        ("How many gallons are needed?", "How long does the drive take?", "How far does a full tank last?"),
        ("{n} drives back the same day.", "A passenger pays half of it.", "A detour makes the way double."),
        ("{n} drives to {p}.", "The car needs fuel.", "Fuel has its price."),
    ),
    Story(
        (
            (
                "{n} has a rope that is {a} feet long.",
                "The length of {n}'s rope is {a} feet.",
                "{n} owns a {a}-foot rope.",
            ),
            (
                "{n} cuts it into pieces of {b} inches.",
                "It is cut by {n} into {b}-inch pieces.",
                "Pieces of {b} inches each are made from it.",
            ),
            (
                "{c} pieces are thrown away.",
                "{n} discards {c} of the pieces.",
                "{c} of them end in the trash.",
            ),
        ),
        (
            "How many pieces does {n} keep?",
            "What number of pieces is kept?",
            "Determine how many pieces stay with {n}.",
        ),
        ("How long is the rope in inches?", "How many cuts are made?", "How many inches were thrown away?"),
        (
            "Every piece is then cut in half.",
            "{m} brings a rope just like it.",
            "Only every second piece is usable.",
        ),
        ("{n} has a rope.", "{n} cuts it into equal pieces.", "Some pieces are thrown away."),
    ),
    Story(
        (
            (
                "{n} saves ${a} every month.",
                "Every month ${a} is put aside by {n}.",
                "{n}'s monthly savings are ${a}.",
            ),
            (
                "{m} saves {b} percent more.",
                "{m} puts aside {b}% more than {n}.",
                "The savings of {m} are {b}% higher.",
            ),
            (
                "They want a boat for ${c}.",
                "A boat that they wish to buy costs ${c}.",
                "Their aim is a boat with a price of ${c}.",
            ),
        ),
        (
            "In how many months can they buy it?",
            "How many months must they save?",
            "Compute the months until they can afford it.",
        ),
        (
            "How much does {m} save in a year?",
            "How much does {n} lack after a year?",
            "What share does {n} pay?",
        ),
        (
            "Half of the price is a gift of an aunt.",
            "They sell an old boat first.",
            "{m} stops when half is reached.",
        ),
        ("{n} saves money every month.", "{m} saves more.", "They want a boat."),
    ),
)
