"""Words that turn a question round: pairs of opposites, and how prefixes make them."""

from __future__ import annotations

from functools import lru_cache

from semantic_cache.gates.text import stem

_PAIRS = """more/less more/fewer most/least most/fewest greater/smaller greater/less larger/smaller
bigger/smaller higher/lower taller/shorter longer/shorter older/younger older/newer faster/slower
heavier/lighter better/worse best/worst cheaper/dearer cheaper/pricier warmer/colder warmer/cooler
hotter/colder hotter/cooler thicker/thinner wider/narrower deeper/shallower stronger/weaker richer/poorer
brighter/darker brighter/dimmer louder/quieter easier/harder earlier/later sooner/later nearer/farther
closer/farther closer/further happier/sadder smarter/dumber safer/riskier cleaner/dirtier fatter/thinner
maximum/minimum max/min maximize/minimize maximal/minimal highest/lowest biggest/smallest largest/smallest
longest/shortest tallest/shortest oldest/youngest oldest/newest fastest/slowest heaviest/lightest
earliest/latest nearest/farthest first/last above/below over/under up/down in/out on/off inside/outside
before/after prior/after with/without start/stop start/end start/finish begin/end begin/finish open/close
enable/disable activate/deactivate add/remove add/delete add/subtract insert/remove insert/delete
increase/decrease raise/lower raise/reduce gain/lose rise/fall grow/shrink expand/shrink expand/contract
expand/reduce increase/reduce increase/lower increase/cut boost/reduce boost/lower speed/slow
accelerate/decelerate accelerate/slow buy/sell purchase/sell lend/borrow give/take give/receive send/receive
push/pull lock/unlock install/uninstall install/remove connect/disconnect attach/detach join/leave
enter/leave enter/exit arrive/depart arrive/leave come/go import/export upload/download encrypt/decrypt
encode/decode compress/decompress zip/unzip fold/unfold wrap/unwrap pack/unpack load/unload mount/unmount
subscribe/unsubscribe follow/unfollow block/unblock mute/unmute hide/show hide/reveal save/delete save/spend
save/discard keep/discard keep/lose win/lose pass/fail succeed/fail accept/reject accept/refuse
accept/decline allow/forbid allow/deny allow/prevent allow/block permit/forbid permit/deny approve/reject
approve/deny confirm/deny admit/deny agree/disagree like/dislike love/hate like/hate prefer/avoid seek/avoid
use/avoid cause/prevent cause/cure help/hurt help/hinder help/harm heal/hurt build/destroy create/destroy
create/delete make/break fix/break repair/break strengthen/weaken warm/cool heat/cool freeze/thaw
freeze/melt freeze/boil wake/sleep inhale/exhale float/sink attack/defend praise/criticize praise/blame
reward/punish trust/distrust remember/forget find/lose lead/follow ask/answer teach/learn employ/fire
hire/fire hire/dismiss marry/divorce deposit/withdraw credit/debit invest/divest profit/loss income/expense
asset/liability supply/demand ascending/descending ascend/descend advance/retreat forward/backward
forwards/backwards left/right north/south east/west northern/southern eastern/western top/bottom front/back
front/rear head/tail internal/external interior/exterior input/output import/export source/destination
upstream/downstream day/night morning/evening sunrise/sunset dawn/dusk summer/winter past/future
ancient/modern old/new old/young ancient/recent new/used hot/cold warm/cold warm/cool wet/dry light/dark
light/heavy bright/dark bright/dim loud/quiet noisy/quiet noisy/silent fast/slow quick/slow rapid/slow
big/small large/small huge/tiny great/small long/short tall/short high/low deep/shallow wide/narrow
broad/narrow thick/thin fat/thin strong/weak hard/soft hard/easy difficult/easy tough/easy tough/tender
rough/smooth sharp/blunt sharp/dull rich/poor wealthy/poor expensive/cheap costly/cheap good/bad good/evil
right/wrong correct/wrong true/false real/fake genuine/fake authentic/fake happy/sad happy/unhappy glad/sad
cheerful/gloomy joyful/sad joyful/miserable happy/miserable optimistic/pessimistic hopeful/hopeless
positive/negative confident/insecure confident/shy confident/timid brave/cowardly brave/afraid brave/fearful
courageous/cowardly bold/timid bold/shy outgoing/shy outgoing/introverted extroverted/introverted
sociable/unsociable sociable/shy talkative/quiet talkative/silent calm/nervous calm/anxious calm/angry
relaxed/tense relaxed/anxious relaxed/stressed patient/impatient polite/rude courteous/rude kind/cruel
kind/mean kind/unkind gentle/rough gentle/harsh generous/stingy generous/selfish generous/greedy
altruistic/selfish selfless/selfish humble/arrogant humble/proud modest/arrogant modest/proud
modest/boastful honest/dishonest honest/deceitful sincere/insincere loyal/disloyal faithful/unfaithful
trustworthy/untrustworthy reliable/unreliable responsible/irresponsible careful/careless cautious/reckless
cautious/careless careful/reckless prudent/reckless diligent/lazy hardworking/lazy hard-working/lazy
industrious/lazy active/lazy active/passive active/inactive energetic/lethargic energetic/lazy
productive/unproductive efficient/inefficient organized/disorganized organized/messy tidy/messy tidy/untidy
neat/messy clean/dirty clean/messy smart/stupid smart/dumb intelligent/stupid intelligent/unintelligent
clever/stupid wise/foolish wise/stupid sensible/foolish rational/irrational logical/illogical
mature/immature mature/childish serious/playful serious/funny serious/frivolous funny/boring
interesting/boring exciting/boring exciting/dull entertaining/boring beautiful/ugly pretty/ugly
handsome/ugly attractive/unattractive attractive/ugly healthy/unhealthy healthy/sick healthy/ill fit/unfit
safe/dangerous safe/unsafe safe/risky harmless/harmful harmless/dangerous useful/useless helpful/unhelpful
helpful/harmful beneficial/harmful important/unimportant important/trivial significant/insignificant
necessary/unnecessary necessary/optional required/optional mandatory/optional mandatory/voluntary
essential/optional legal/illegal lawful/unlawful moral/immoral ethical/unethical fair/unfair just/unjust
possible/impossible likely/unlikely probable/improbable certain/uncertain sure/unsure clear/unclear
clear/vague specific/general specific/vague concrete/abstract simple/complex simple/complicated plain/fancy
common/rare common/uncommon usual/unusual normal/abnormal ordinary/extraordinary typical/atypical
regular/irregular frequent/rare famous/unknown popular/unpopular known/unknown public/private open/closed
open/shut full/empty whole/partial complete/incomplete complete/partial perfect/imperfect same/different
equal/unequal similar/different similar/dissimilar alike/different dead/alive living/dead male/female
man/woman boy/girl men/women husband/wife father/mother son/daughter brother/sister uncle/aunt king/queen
mr/mrs sir/madam single/married alone/together employed/unemployed guilty/innocent sober/drunk awake/asleep
present/absent visible/invisible conscious/unconscious voluntary/involuntary natural/artificial
natural/synthetic organic/synthetic raw/cooked fresh/stale fresh/rotten ripe/unripe sweet/bitter sweet/sour
acid/alkaline acidic/basic solid/liquid hollow/solid tight/loose straight/curved straight/crooked flat/steep
convex/concave horizontal/vertical parallel/perpendicular odd/even positive/negative plus/minus
multiply/divide add/divide sum/difference numerator/denominator odd/normal formal/informal formal/casual
strict/lenient conservative/liberal conservative/progressive religious/secular religious/atheist
spiritual/materialistic democratic/authoritarian winner/loser hero/villain friend/enemy ally/enemy ally/foe
teacher/student buyer/seller lender/borrower landlord/tenant employer/employee doctor/patient master/servant
predator/prey parent/child ancestor/descendant cause/effect cause/consequence problem/solution
question/answer strength/weakness advantage/disadvantage advantage/drawback benefit/drawback benefit/risk
pro/con pros/cons success/failure victory/defeat war/peace love/hatred hope/despair joy/sorrow pleasure/pain
wealth/poverty health/illness health/disease birth/death life/death beginning/ending entrance/exit
arrival/departure always/never often/rarely often/seldom frequently/rarely usually/rarely everything/nothing
everyone/nobody everybody/nobody all/none all/some always/sometimes both/neither everywhere/nowhere
somebody/nobody any/none quickly/slowly loudly/quietly carefully/carelessly well/badly easily/hardly
barely/fully still/anymore yes/no online/offline synchronous/asynchronous mutable/immutable static/dynamic
global/local client/server public/protected upper/lower uppercase/lowercase prefix/suffix push/pop
enqueue/dequeue minimum/most vocal/quiet outspoken/reserved outspoken/quiet powerful/powerless powerful/weak
strong/powerless progressive/traditional traditional/modern flexible/rigid flexible/inflexible
tolerant/intolerant curious/indifferent passionate/indifferent ambitious/lazy ambitious/unambitious
creative/uncreative emotional/unemotional emotional/rational sensitive/insensitive sensitive/callous
sympathetic/unsympathetic compassionate/cruel compassionate/heartless violent/peaceful aggressive/peaceful
aggressive/passive hostile/friendly friendly/unfriendly dependent/independent dominant/submissive
obedient/disobedient assertive/passive assertive/meek visible/hidden superior/inferior major/minor
senior/junior primary/secondary temporary/permanent finite/infinite mortal/immortal literal/figurative
explicit/implicit direct/indirect upgrade/downgrade promote/demote overestimate/underestimate
overweight/underweight inflate/deflate appear/disappear exclude/include including/excluding attend/skip
attend/miss continue/stop continue/quit resume/pause stay/leave stay/go release/capture remain/leave
rent/own owe/own borrow/return earn/spend refund/charge refundable/nonrefundable prepaid/postpaid
domestic/international domestic/foreign urban/rural indoor/outdoor indoors/outdoors upstairs/downstairs
northbound/southbound eastbound/westbound clockwise/counterclockwise clockwise/anticlockwise am/pm
morning/afternoon morning/night breakfast/dinner"""

_PREFIXES = ("un", "in", "im", "il", "ir", "dis", "non", "anti", "de", "mis")


def _table() -> dict[str, frozenset[str]]:
    out: dict[str, set[str]] = {}
    for pair in _PAIRS.split():
        left, right = pair.split("/")
        for one, other in ((left, right), (right, left)):
            out.setdefault(one, set()).add(other)
            out.setdefault(stem(one), set()).add(stem(other))
    return {word: frozenset(others) for word, others in out.items()}


OPPOSITES = _table()


@lru_cache(maxsize=16384)
def opposite(one: str, other: str) -> bool:
    """Return whether two words (or two stems) are opposites, by the table or by a prefix."""
    if one == other:
        return False
    if other in OPPOSITES.get(one, ()):
        return True
    short, long = sorted((one, other), key=len)
    if len(short) > 3 and any(long == prefix + short for prefix in _PREFIXES):
        return True
    return (
        len(one) > 5
        and len(other) > 5
        and {one[-4:], other[-4:]} == {"less", other[-4:] if one.endswith("less") else one[-4:]}
        and (one[:-4] + "ful" == other or other[:-4] + "ful" == one)
    )
