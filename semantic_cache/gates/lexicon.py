"""English words that carry grammar rather than meaning, and how forms of a word meet in one stem."""

from __future__ import annotations

from semantic_cache.gates.words import words_in

FUNCTION_WORDS = frozenset(
    words_in("""a an the this that these those some any each every all both either such own same i me my
    mine myself you your yours yourself yourselves he him his himself she her hers herself it its itself we
    us our ours ourselves they them their theirs themselves one ones someone anyone something anything
    everyone everything people's there here is am are was were be been being do does did doing done have has
    had having will would shall should can could may might must ought and or but nor so if then than because
    while as of in on at by for with to from into onto upon about through during between among within across
    along toward towards over under off out up down what which who whom whose when where why how whether not
    no never also too very just only even still already yet now please kindly let lets thus hence therefore
    however although though since until till per via etc want wants wanted would like wish wishes need
    best way ways possible able go going     tell explain know say think wonder wondering
    ask help figure determine calculate compute question answer information info advice
    suggestion hi hello hey thanks thank ok okay sir madam much many more most less least few fewer several
    lot lots really truly actually basically simply quite literally honestly genuinely certainly exactly
    currently presently today's else ever well $ € £ ¥ %""")
)
"""Words whose loss or gain is no lost premise. Those that do matter (not, more, before, who …) have gates of
their own, which see all words."""

CONTRACTIONS: dict[str, tuple[str, ...]] = {
    "can't": ("can", "not"),
    "cannot": ("can", "not"),
    "won't": ("will", "not"),
    "shan't": ("shall", "not"),
    "ain't": ("is", "not"),
    "dont": ("do", "not"),
    "doesnt": ("does", "not"),
    "didnt": ("did", "not"),
    "cant": ("can", "not"),
    "wont": ("will", "not"),
    "isnt": ("is", "not"),
    "wasnt": ("was", "not"),
    "couldnt": ("could", "not"),
    "shouldnt": ("should", "not"),
    "wouldnt": ("would", "not"),
    "hasnt": ("has", "not"),
    "havent": ("have", "not"),
    "arent": ("are", "not"),
    "im": ("i", "am"),
    "ive": ("i", "have"),
    "whats": ("what", "is"),
    "what's": ("what", "is"),
    "where's": ("where", "is"),
    "who's": ("who", "is"),
    "how's": ("how", "is"),
    "when's": ("when", "is"),
    "it's": ("it", "is"),
    "that's": ("that", "is"),
    "there's": ("there", "is"),
    "he's": ("he", "is"),
    "she's": ("she", "is"),
    "let's": ("let", "us"),
    "y'all": ("you", "all"),
    "gonna": ("going", "to"),
    "wanna": ("want", "to"),
    "gotta": ("got", "to"),
}

SPELLING: dict[str, str] = {
    pair.split("=")[0]: pair.split("=")[1]
    for pair in words_in("""colour=color favourite=favorite organise=organize organised=organized
    realise=realize realised=realized analyse=analyze centre=center metre=meter metres=meters litre=liter
    litres=liters theatre=theater grey=gray licence=license defence=defense travelling=traveling
    travelled=traveled cancelled=canceled cancelling=canceling labour=labor neighbour=neighbor
    behaviour=behavior honour=honor programme=program cheque=check tyre=tire aeroplane=airplane
    catalogue=catalog dialogue=dialog recognise=recognize apologise=apologize optimise=optimize
    optimised=optimized specialise=specialize kilometre=kilometer kilometres=kilometers
    centimetre=centimeter centimetres=centimeters jewellery=jewelry mum=mom maths=math fulfil=fulfill
    enrol=enroll skilful=skillful modelling=modeling""")
}


def _forms(text: str) -> dict[str, str]:
    out = {}
    for line in text.split(","):
        base, *forms = line.split()
        out.update(dict.fromkeys(forms, base))
        out[base] = base
    return out


IRREGULAR = _forms(
    """be is am are was were been being, have has had having, do does did done doing, go goes went gone
    going, get gets got gotten getting, make makes made making, take takes took taken taking, buy buys
    bought buying, pay pays paid paying, sell sells sold selling, give gives gave given giving, eat eats ate
    eaten eating, drink drinks drank drunk drinking, run runs ran running, write writes wrote written
    writing, read reads reading, see sees saw seen seeing, say says said saying, tell tells told telling,
    think thinks thought thinking, know knows knew known knowing, find finds found finding, lose loses lost
    losing, leave leaves left leaving, keep keeps kept keeping, begin begins began begun beginning, spend
    spends spent spending, send sends sent sending, build builds built building, lend lends lent lending,
    bring brings brought bringing, catch catches caught catching, teach teaches taught teaching, grow grows
    grew grown growing, throw throws threw thrown throwing, fly flies flew flown flying, draw draws drew
    drawn drawing, drive drives drove driven driving, ride rides rode ridden riding, rise rises rose risen
    rising, win wins won winning, meet meets met meeting, feed feeds fed feeding, hold holds held holding,
    stand stands stood standing, understand understands understood understanding, speak speaks spoke spoken
    speaking, break breaks broke broken breaking, steal steals stole stolen stealing, choose chooses chose
    chosen choosing, freeze freezes froze frozen freezing, wear wears wore worn wearing, swim swims swam
    swum swimming, sing sings sang sung singing, fall falls fell fallen falling, feel feels felt feeling,
    sleep sleeps slept sleeping, sit sits sat sitting, shoot shoots shot shooting, hear hears heard hearing,
    come comes came coming, become becomes became becoming, forget forgets forgot forgotten forgetting,
    fight fights fought fighting, hide hides hid hidden hiding, bite bites bit bitten biting, bake bakes
    baked baking, use uses used using, live lives lived living, save saves saved saving, have haves, move
    moves moved moving, charge charges charged charging, child children, man men, woman women, person
    persons people, foot feet, tooth teeth, mouse mice, goose geese, life lives', knife knives, wife wives,
    leaf leaves', half halves, shelf shelves, loaf loaves, wolf wolves, news, lens lenses, bus buses, gas
    gases, class classes, glass glasses, series, species, tomato tomatoes, potato potatoes, hero heroes, die
    dies died dying, lie lies lied lying, tie ties tied tying, during, something, nothing, anything,
    everything, morning mornings, evening evenings, king kings, ring rings, thing things, string strings,
    spring springs, wedding weddings, building buildings, need, speed, seed seeds, weed weeds, breed breeds,
    red, bed beds, hundred hundreds, wing wings, ceiling ceilings, address addresses"""
)
