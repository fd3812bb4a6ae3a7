"""Words that may stand for one another in a question, in groups; a word may be in several."""

from __future__ import annotations

from functools import lru_cache

from semantic_cache.gates.text import stem

_GROUPS = """buy purchase acquire obtain order procure
sell vend
use utilize employ
make create produce generate craft build construct
begin start commence initiate
end finish conclude complete terminate
get obtain receive acquire gain
own possess have
collect gather accumulate pick
spend expend use pay
cost price charge fee rate expense priced
earn make receive
pay give spend
save set aside keep put
allocate reserve assign dedicate set devote
fix repair mend resolve solve
help assist aid support
show display present demonstrate
choose select pick opt decide
big large sizable
huge enormous giant gigantic massive immense
small little tiny
smart intelligent clever bright brainy
happy joyful cheerful glad content
sad unhappy sorrowful melancholy
angry furious mad irate enraged
afraid scared frightened fearful
brave courageous fearless bold
calm peaceful tranquil serene relaxed
kind nice caring kindhearted
rich wealthy affluent
poor impoverished needy
fast quick rapid speedy swift
quickly fast rapidly swiftly
slow sluggish
difficult hard tough challenging
easy simple effortless straightforward
important significant crucial vital essential key
begin starting beginning initial first
final last ultimate
total overall altogether sum combined
amount quantity number total sum
left remaining remain remainder leftover
entire whole full complete
equal same identical
equally evenly
share split divide distribute
divide split partition
combine pool join merge mix unite
trip journey travel
car automobile vehicle
house home residence
child kid youngster
children kids youngsters
mother mom mama
father dad papa
physician doctor
lawyer attorney
teacher instructor educator
student pupil learner
movie film
photo picture photograph image
job work occupation employment
company firm business corporation
shop store market
shoe footwear
cloth clothing clothes garment apparel
fabric material cloth
drape curtain
sofa couch
bike bicycle
phone telephone cellphone smartphone
tv television
pc computer laptop
email mail e-mail
error bug issue fault problem
delete remove erase
modify change alter edit
update upgrade
install setup
cancel annul
return refund
error mistake
fear dread
speak talk converse
speak say tell
look see view watch
search look seek find
discover find
understand comprehend grasp
learn study
improve enhance better
reduce decrease lower lessen cut
increase raise boost grow
grow increase rise
travel go journey
depart leave
arrive reach come
eat consume
drink consume
sleep rest
walk stroll
run jog
run operate work function
weigh weight
measure size
length long
width wide
height tall high
depth deep
age old
day daily
week weekly
month monthly
year yearly annual annually
hour hourly
per each every apiece
fewer less
most majority
average mean
usual typical regular normal ordinary common
rate speed
speed fast
require need
necessary required needed
allow permit let
forbid prohibit ban
stop cease quit halt
avoid prevent
build construct
destroy demolish ruin
answer reply respond
reason cause why
famous well-known renowned celebrated
popular well-liked
organized orderly
vocal outspoken
religious devout pious
hardworking hard-working diligent industrious
lazy idle indolent
honest truthful
humble modest
polite courteous
rude impolite
confident self-assured
outgoing sociable extroverted
shy timid bashful
generous giving
selfish self-centered
careful cautious prudent
funny humorous amusing comical
boring dull tedious
interesting fascinating intriguing
beautiful pretty gorgeous lovely
ugly unattractive
attractive good-looking
healthy fit
sick ill unwell
tired exhausted weary
thin slim slender skinny
fat overweight obese
strong powerful mighty
weak feeble frail
loud noisy
quiet silent
clean tidy
dirty filthy
wrong incorrect
right correct
true right
safe secure
dangerous hazardous unsafe risky
expensive costly pricey
cheap inexpensive affordable
afford buy
famous celebrity
become turn be
get become
convert change transform turn
turn switch
choose pick
begin start
place put set
place location spot
city town
country nation
area region
road street
sea ocean
hill mountain
rock stone
forest woods
sweet candy
meal food
dinner supper
chicken poultry
soda pop
mug cup
garbage trash rubbish waste
gift present
party celebration
holiday vacation
movie theater cinema
salary wage pay income earning paycheck
money cash funds
budget funds
bill invoice
loan credit
account profile
password passcode
reset change
verify confirm check validate
sign-in login
login log-in
begin launch
test exam examination quiz
score mark grade point
win victory
player participant
member participant
friend pal buddy
roommate flatmate
worker employee staff
staff employee medical
boss manager supervisor
customer client
visitor guest
neighbor neighbour
police cop
soldier troop
animal creature
dog puppy
cat kitten
rabbit bunny
donkey ass
error fault
method approach technique procedure process
step stage
goal aim objective target
plan intend
decide choose determine
try attempt
contain include hold comprise
hold contain store
fill load
empty drain
carry transport haul
bring take carry
send ship mail
deliver bring
receive get
throw toss
hit strike
cut slice chop
cook prepare
bake make
plant grow
pick harvest
water irrigate
sum total
following next subsequent second
previous prior preceding
initial first original
day date
evening night
afterwards afterward later then
currently now presently
frequently often regularly
rarely seldom
approximately about around roughly nearly almost
nearly almost
maybe perhaps possibly
enough sufficient adequate
additional extra more another further
separate individual
whole entire
single one
double twice
triple thrice
half halve
quarter fourth
dozen twelve
couple two
pair two
decade years
fortnight weeks
attend go visit
visit go
possess own
live reside dwell
stay remain live
work toil
marry wed
date see
like enjoy love
hate detest loathe
want wish desire
prefer favor
believe think
assume suppose
suggest recommend advise propose
explain describe clarify
define describe
list name enumerate
compare contrast
difference distinction
advantage benefit pro
disadvantage drawback con downside
feature characteristic property
type kind sort
example instance
topic subject
book novel
article piece
essay paper
story tale
song track tune
game match
language tongue
word term
code program
function method
bug defect
file document
folder directory
picture image
website site webpage
internet web online
app application
device gadget
battery charge
price cost
cheap cheapest
doctor medic
medicine medication drug
illness disease sickness
pain ache
injury wound
weight heaviness
lose shed drop
gain get put
exercise workout
diet nutrition
healthy nutritious
recipe dish
ingredient component
pet animal"""


_LINES = _GROUPS.splitlines()


def _table() -> dict[str, frozenset[int]]:
    out: dict[str, set[int]] = {}
    for number, line in enumerate(_LINES):
        for word in line.split():
            out.setdefault(word, set()).add(number)
            out.setdefault(stem(word), set()).add(number)
    return {word: frozenset(groups) for word, groups in out.items()}


GROUPS = _table()
"""Numbers of the groups that a word, or a stem, is in."""


def words_of(group: int) -> list[str]:
    """Return the words of a group."""
    return _LINES[group].split()


@lru_cache(maxsize=32768)
def synonymous(one: str, other: str) -> bool:
    """Return whether two stems are the same word, share a group, or differ only in a derivation."""
    if one == other:
        return True
    mine = GROUPS.get(one)
    if mine and not mine.isdisjoint(GROUPS.get(other, ())):
        return True
    # "calculate" and "calculation", "purchase" and "purchaser": one word family.
    short, long = sorted((one, other), key=len)
    return len(short) >= 5 and long.startswith(short) and long[len(short) :] in _ENDINGS


_ENDINGS = frozenset(["ion", "ation", "al", "ally", "ly", "ment", "ity", "ance", "ence", "ing", "y"])
