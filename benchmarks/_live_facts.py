"""Common facts for the questions of the live cascade, as tables of `a:b`."""

from __future__ import annotations


def pairs(text: str) -> list[tuple[str, str]]:
    """Return the pairs of a table: `a:b; c:d`."""
    out = []
    for entry in " ".join(text.split()).split("; "):
        left, _, right = entry.partition(":")
        out.append((left, right))
    return out


def words(text: str) -> list[str]:
    """Return the words of a list."""
    return " ".join(text.split()).split("; ")


CAPITALS = pairs("""
France:Paris; Germany:Berlin; Italy:Rome; Spain:Madrid; Portugal:Lisbon; Ireland:Dublin; Japan:Tokyo;
China:Beijing; Russia:Moscow; Egypt:Cairo; Greece:Athens; Austria:Vienna; Poland:Warsaw; Hungary:Budapest;
Sweden:Stockholm; Norway:Oslo; Denmark:Copenhagen; Finland:Helsinki; Iceland:Reykjavik; Belgium:Brussels;
Cuba:Havana; Kenya:Nairobi; Canada:Ottawa; Australia:Canberra; Argentina:Buenos Aires; Chile:Santiago;
Peru:Lima; Colombia:Bogota; Venezuela:Caracas; Ecuador:Quito; Uruguay:Montevideo; Paraguay:Asuncion;
Thailand:Bangkok; Vietnam:Hanoi; Indonesia:Jakarta; Malaysia:Kuala Lumpur; Philippines:Manila;
Mongolia:Ulaanbaatar; Nepal:Kathmandu; Pakistan:Islamabad; Bangladesh:Dhaka; Iran:Tehran; Iraq:Baghdad;
Syria:Damascus; Lebanon:Beirut; Jordan:Amman; Turkey:Ankara; Romania:Bucharest; Bulgaria:Sofia;
Serbia:Belgrade; Croatia:Zagreb; Slovenia:Ljubljana; Slovakia:Bratislava; Ukraine:Kyiv|Kiev; Latvia:Riga;
Estonia:Tallinn; Lithuania:Vilnius; Morocco:Rabat; Tunisia:Tunis; Algeria:Algiers; Libya:Tripoli;
Ethiopia:Addis Ababa; Ghana:Accra; Senegal:Dakar; Uganda:Kampala; Rwanda:Kigali; Zambia:Lusaka;
Zimbabwe:Harare; Namibia:Windhoek; Madagascar:Antananarivo; Angola:Luanda; Mali:Bamako; Fiji:Suva;
New Zealand:Wellington; Jamaica:Kingston; Panama:Panama City; Cambodia:Phnom Penh; Laos:Vientiane;
Albania:Tirana; Georgia:Tbilisi; Armenia:Yerevan; Qatar:Doha; Oman:Muscat; Afghanistan:Kabul
""")
CONTINENTS = pairs("""
France:Europe; Japan:Asia; Brazil:South America; Egypt:Africa; Canada:North America; Norway:Europe;
Kenya:Africa; Vietnam:Asia; Peru:South America; Mexico:North America; Poland:Europe; Nigeria:Africa;
Thailand:Asia; Chile:South America; Hungary:Europe; Ghana:Africa; Nepal:Asia; Bolivia:South America;
Cuba:North America; Estonia:Europe; Mali:Africa; Mongolia:Asia; Guyana:South America; Finland:Europe;
Zambia:Africa; Laos:Asia; Uruguay:South America; Albania:Europe; Chad:Africa; Bhutan:Asia;
Paraguay:South America; Slovenia:Europe; Togo:Africa; Oman:Asia; Portugal:Europe; Uganda:Africa
""")
OPPOSITES = pairs("""
hot:cold; big:small|little; up:down; left:right; day:night; black:white; good:bad|evil; happy:sad|unhappy;
fast:slow; young:old; open:closed|close|shut; full:empty; rich:poor; wet:dry; hard:soft|easy; high:low;
early:late; heavy:light; strong:weak; long:short; wide:narrow; thick:thin; clean:dirty; loud:quiet|silent;
true:false; war:peace; love:hate; win:lose|loss; buy:sell; push:pull; begin:end|finish; alive:dead;
deep:shallow; sharp:blunt|dull; sweet:sour|bitter; rough:smooth; safe:dangerous|unsafe;
brave:cowardly|afraid|fearful; ancient:modern; arrive:depart|leave; accept:reject|refuse; ascend:descend;
absent:present; guilty:innocent; victory:defeat; maximum:minimum; entrance:exit; increase:decrease;
inside:outside; floor:ceiling; generous:stingy|selfish; wise:foolish; odd:even; raw:cooked; tight:loose;
cheap:expensive; tall:short; before:after; north:south; east:west; always:never; public:private;
friend:enemy; import:export; borrow:lend; expand:contract|shrink; optimist:pessimist; success:failure;
sunrise:sunset; remember:forget
""")
PLURALS = pairs("""
dog:dogs; cat:cats; box:boxes; bus:buses; city:cities; baby:babies; child:children; man:men; woman:women;
mouse:mice; goose:geese; tooth:teeth; foot:feet; knife:knives; leaf:leaves; wolf:wolves; life:lives;
sheep:sheep; deer:deer; ox:oxen; potato:potatoes; tomato:tomatoes; hero:heroes; church:churches;
story:stories; key:keys; cherry:cherries; loaf:loaves; shelf:shelves; thief:thieves; cactus:cacti|cactuses;
crisis:crises; analysis:analyses; phenomenon:phenomena; criterion:criteria; louse:lice;
person:people|persons; half:halves; calf:calves; wife:wives; lady:ladies; glass:glasses; watch:watches;
bush:bushes; photo:photos; piano:pianos; monkey:monkeys; army:armies; berry:berries; elf:elves;
brush:brushes; table:tables; river:rivers; fungus:fungi|funguses; nucleus:nuclei; oasis:oases; larva:larvae;
salmon:salmon; series:series
""")
PASTS = pairs("""
go:went; eat:ate; run:ran; see:saw; take:took; give:gave; come:came; write:wrote; drive:drove; speak:spoke;
break:broke; choose:chose; fly:flew; grow:grew; know:knew; throw:threw; begin:began; drink:drank; sing:sang;
swim:swam; ring:rang; bring:brought; buy:bought; catch:caught; teach:taught; think:thought; fight:fought;
find:found; keep:kept; sleep:slept; leave:left; feel:felt; build:built; send:sent; spend:spent; lose:lost;
sell:sold; tell:told; hold:held; stand:stood; sit:sat; win:won; hear:heard; make:made; pay:paid; wear:wore;
tear:tore; shake:shook; hide:hid; bite:bit; draw:drew; freeze:froze; steal:stole; wake:woke; weep:wept;
creep:crept; dig:dug; stick:stuck; swing:swung; cling:clung; seek:sought; flee:fled; lead:led; lie:lay|lied;
walk:walked; play:played; stop:stopped; carry:carried; study:studied; plan:planned; cut:cut; hit:hit;
put:put
""")
CATEGORIES = pairs("""
apple:fruit; banana:fruit; pear:fruit; grape:fruit; mango:fruit; plum:fruit; peach:fruit; lemon:fruit;
dog:animal; horse:animal; eagle:animal; shark:animal; rabbit:animal; camel:animal; otter:animal;
badger:animal; hammer:tool; saw:tool; wrench:tool; screwdriver:tool; drill:tool; pliers:tool; chisel:tool;
axe:tool; car:vehicle; train:vehicle; bicycle:vehicle; truck:vehicle; tram:vehicle; ferry:vehicle;
helicopter:vehicle; piano:instrument; violin:instrument; flute:instrument; trumpet:instrument;
cello:instrument; harp:instrument; shirt:clothing; sock:clothing; coat:clothing; scarf:clothing;
trousers:clothing; glove:clothing; skirt:clothing
""")
YES = words("""
Is ice colder than steam; Is an elephant heavier than a mouse; Does the sun rise in the east;
Is gold a metal; Can penguins swim; Is the Pacific an ocean; Do spiders have eight legs; Is Saturn a planet;
Is milk white; Can a parrot fly; Is Africa a continent; Is a whale a mammal;
Is iron heavier than wood of the same size; Does a triangle have three sides; Is the number ten even;
Is a tomato a plant; Do cows eat grass; Is Mount Everest higher than a house; Is the Sahara a desert;
Does water boil when it is heated enough; Is a minute longer than a second; Do bees make honey;
Is the Nile a river; Is a violin played with a bow; Is copper a metal; Is a kilogram heavier than a gram;
Do fish live in water; Can a bat fly; Is Paris in France; Is the moon smaller than the earth;
Is seven a prime number; Does a year have twelve months; Is snow cold; Is diamond hard;
Is a square a kind of rectangle; Do trees have roots; Is a frog an amphibian; Is sugar sweet;
Is a rose a flower; Do humans need oxygen; Is oxygen a gas at room temperature
""")
NO = words("""
Is the sun colder than the moon; Can an elephant fly; Is lead lighter than paper of the same size;
Do snakes have legs; Is Berlin in Spain; Is a shark a mammal; Is glass made of wood;
Does a square have five sides; Is the number nine even; Can a stone swim; Is the Atlantic a river;
Is winter warmer than summer; Do cats lay eggs; Is a day shorter than an hour; Is coal white; Is salt sweet;
Does the moon make its own light; Is a spider an insect; Is Asia a country; Can a fish ride a bicycle;
Is the earth flat; Is mercury a fruit; Is a snail faster than a horse; Do plants eat stones;
Is a guitar a kind of vehicle; Is Tokyo in China; Does a bicycle have four wheels;
Is a metre longer than a kilometre; Is eight a prime number; Is water a metal; Do birds have fur;
Is night brighter than day; Is a banana blue; Is the sky green; Is an ant bigger than a dog;
Does a week have nine days; Is fire cold; Is a penguin a fish; Is Mars bigger than the sun;
Is a potato an animal; Does ice float in the air; Is Venus a star
""")
SYMBOLS = pairs("""
hydrogen:H; helium:He; carbon:C; nitrogen:N; oxygen:O; sodium:Na; iron:Fe; gold:Au; silver:Ag; copper:Cu;
lead:Pb; tin:Sn; zinc:Zn; potassium:K; calcium:Ca; chlorine:Cl; sulfur:S; phosphorus:P; magnesium:Mg;
aluminium:Al; silicon:Si; neon:Ne; argon:Ar; iodine:I; mercury:Hg; nickel:Ni; lithium:Li; fluorine:F;
boron:B; uranium:U; platinum:Pt; titanium:Ti; chromium:Cr; cobalt:Co; bromine:Br; tungsten:W
""")
COUNTS = pairs("""
sides does a triangle have:3; sides does a pentagon have:5; sides does a hexagon have:6;
sides does an octagon have:8; legs does a spider have:8; legs does a dog have:4; legs does an insect have:6;
legs does a chicken have:2; days are in a week:7; months are in a year:12; hours are in a day:24;
minutes are in an hour:60; seconds are in a minute:60; letters are in the English alphabet:26;
planets orbit the sun:8; wheels does a tricycle have:3; wheels does a car usually have:4;
strings does a violin have:4; arms does an octopus have:8; players of one team are on a football pitch:11;
cards are in a standard deck without jokers:52; eggs are in a dozen:12; centimetres are in a metre:100;
metres are in a kilometre:1000; grams are in a kilogram:1000; years are in a century:100;
years are in a decade:10; degrees are in a right angle:90; degrees are in a full circle:360;
weeks are in a year:52; fingers are on one human hand:5; colours has a rainbow by tradition:7;
continents are there on earth:7; squares are on a chessboard:64; corners does a square have:4;
faces does a cube have:6; pence are in a pound:100; millimetres are in a centimetre:10;
quarters make a whole:4; musicians play in a quartet:4; singers are in a duet:2
""")
AUTHORS = pairs("""
Hamlet:Shakespeare; Romeo and Juliet:Shakespeare; Macbeth:Shakespeare; Oliver Twist:Dickens;
Don Quixote:Cervantes; War and Peace:Tolstoy; Anna Karenina:Tolstoy;
Crime and Punishment:Dostoevsky|Dostoyevsky; Faust:Goethe; Pride and Prejudice:Austen; Emma:Austen;
Frankenstein:Shelley; Dracula:Stoker; Moby-Dick:Melville; The Divine Comedy:Dante; The Odyssey:Homer;
The Iliad:Homer; The Aeneid:Virgil; Les Miserables:Hugo; Madame Bovary:Flaubert; Robinson Crusoe:Defoe;
Gulliver's Travels:Swift; Treasure Island:Stevenson; The Time Machine:Wells; Jane Eyre:Bronte|Brontë;
Wuthering Heights:Bronte|Brontë; Candide:Voltaire; The Metamorphosis:Kafka; Paradise Lost:Milton;
The Jungle Book:Kipling; Great Expectations:Dickens; The Canterbury Tales:Chaucer; Leaves of Grass:Whitman;
The Raven:Poe; Walden:Thoreau; Ulysses:Joyce
""")
FRENCH = pairs("""
dog:chien; cat:chat; house:maison; water:eau; bread:pain; book:livre; school:école|ecole; friend:ami|amie;
day:jour; night:nuit; red:rouge; blue:bleu; black:noir; white:blanc; one:un|une; two:deux; three:trois;
milk:lait; apple:pomme; sun:soleil; moon:lune; tree:arbre; flower:fleur; king:roi; queen:reine;
mother:mère|mere; father:père|pere; brother:frère|frere; sister:sœur|soeur; hand:main; head:tête|tete;
door:porte; window:fenêtre|fenetre; fish:poisson; cheese:fromage; city:ville; sea:mer; thank you:merci;
good morning:bonjour; yes:oui; horse:cheval; bird:oiseau
""")
COMPARATIVES = pairs("""
good:better; bad:worse; big:bigger; small:smaller; fast:faster; happy:happier; easy:easier; hot:hotter;
thin:thinner; far:farther|further; early:earlier; late:later; nice:nicer; tall:taller; strong:stronger;
dry:drier|dryer; busy:busier; wide:wider; funny:funnier; old:older|elder; young:younger; sad:sadder;
heavy:heavier; light:lighter; close:closer; many:more; little:less|littler; beautiful:more beautiful;
careful:more careful; expensive:more expensive
""")
YOUNG = pairs("""
dog:puppy|pup; cat:kitten; cow:calf; horse:foal|colt; sheep:lamb; goat:kid; pig:piglet; duck:duckling;
goose:gosling; hen:chick; lion:cub; bear:cub; deer:fawn; frog:tadpole; kangaroo:joey; swan:cygnet; seal:pup;
eagle:eaglet; owl:owlet; elephant:calf; whale:calf; fox:cub|kit|pup; rabbit:kit|kitten|bunny;
butterfly:caterpillar; wolf:pup|cub
""")
SPELLING = words("""
house; garden; window; bottle; planet; yellow; kitchen; orange; mountain; pencil; umbrella; island; river;
tiger; violin; winter; elephant; camera; ladder; button; jacket; needle; queen; rabbit; silver; tunnel;
village; zebra; candle; desert; engine; forest; guitar; hammer; insect; jungle; kettle; lemon; market;
napkin; ocean; pepper; quarter; rocket; saddle; teapot; uncle; vase; whistle; yogurt; anchor; basket;
carpet; dragon; eagle; feather
""")

CITIES = pairs("""
Paris:France; Lyon:France; Marseille:France; Rome:Italy; Venice:Italy; Milan:Italy; Naples:Italy;
Berlin:Germany; Munich:Germany; Hamburg:Germany; Cologne:Germany; Madrid:Spain; Barcelona:Spain;
Seville:Spain; Tokyo:Japan; Osaka:Japan; Kyoto:Japan; Beijing:China; Shanghai:China; Mumbai:India;
Delhi:India; Kolkata:India; Moscow:Russia; Cairo:Egypt; Alexandria:Egypt; Sydney:Australia;
Melbourne:Australia; Perth:Australia; Toronto:Canada; Vancouver:Canada; Montreal:Canada; Lisbon:Portugal;
Porto:Portugal; Athens:Greece; Vienna:Austria; Salzburg:Austria; Warsaw:Poland; Krakow:Poland;
Prague:Czech Republic|Czechia; Budapest:Hungary; Zurich:Switzerland; Geneva:Switzerland;
Amsterdam:Netherlands|Holland; Rotterdam:Netherlands|Holland; Istanbul:Turkey; Lagos:Nigeria; Nairobi:Kenya;
Bangkok:Thailand; Lima:Peru; Havana:Cuba; Bogota:Colombia; Casablanca:Morocco; Gothenburg:Sweden;
Bergen:Norway
""")
CURRENCIES = pairs("""
Japan:yen; India:rupee; Britain:pound; Russia:ruble|rouble; China:yuan|renminbi; Mexico:peso;
Switzerland:franc; Sweden:krona; Norway:krone; Denmark:krone; Poland:zloty|złoty; Germany:euro; France:euro;
Italy:euro; Canada:dollar; Australia:dollar; Turkey:lira; Thailand:baht; South Korea:won; Brazil:real;
South Africa:rand; Egypt:pound; Hungary:forint; Israel:shekel; Vietnam:dong; Saudi Arabia:riyal; Spain:euro;
Argentina:peso; New Zealand:dollar
""")
LANGUAGES = pairs("""
Brazil:Portuguese; Mexico:Spanish; Argentina:Spanish; Austria:German; Egypt:Arabic; Iran:Persian|Farsi;
France:French; Portugal:Portuguese; Spain:Spanish; Germany:German; Italy:Italian; Japan:Japanese;
Russia:Russian; Poland:Polish; Greece:Greek; Sweden:Swedish; Denmark:Danish; Hungary:Hungarian;
Turkey:Turkish; Thailand:Thai; Vietnam:Vietnamese; Australia:English; Cuba:Spanish; Chile:Spanish;
Morocco:Arabic; Iraq:Arabic; Iceland:Icelandic; Finland:Finnish; Jamaica:English; Angola:Portuguese;
Ukraine:Ukrainian; Romania:Romanian; China:Mandarin|Chinese; Israel:Hebrew
""")
TRIVIA = pairs("""
What do bees make:honey; Which animal says moo:cow; Which animal barks:dog;
What do we call frozen water:ice; Which planet is closest to the sun:Mercury;
Which planet do we live on:Earth; What is the largest planet:Jupiter; Which planet has bright rings:Saturn;
Which metal is liquid at room temperature:mercury; What is the largest ocean:Pacific;
Which gas do we need to breathe:oxygen; Which gas do plants take in:carbon dioxide;
What is the tallest animal:giraffe; What is the largest animal on earth:whale;
What is the fastest animal on land:cheetah; What is the hardest natural mineral:diamond;
What is the longest river in Africa:Nile; What is the highest mountain on earth:Everest;
Which organ pumps blood:heart; Which organ do we think with:brain; Which organs do we breathe with:lungs;
What is the star nearest to the earth:Sun; Which season comes after winter:spring;
Which season is the coldest:winter; In which direction does the sun set:west;
In which direction does the sun rise:east; Which fruit is used to make wine:grape|grapes;
What is bread mainly made from:flour|wheat; Which animal gives us wool:sheep;
Which animal is known as the king of the jungle:lion; What do caterpillars turn into:butterfly|butterflies;
What is the main ingredient of an omelette:egg|eggs; Which instrument has 88 keys:piano;
Who painted the Mona Lisa:Leonardo|da Vinci; Who was the first president of the United States:Washington;
Who was the first person on the moon:Armstrong;
Which scientist is known for the theory of relativity:Einstein;
Who is said to have discovered gravity under an apple tree:Newton;
Which language do most people in the United States speak:English;
What do we use to write on a blackboard:chalk; Which ship sank in 1912 after hitting an iceberg:Titanic;
On which continent do kangaroos live:Australia|Oceania;
Which bird cannot fly and lives in Antarctica:penguin; Which insect makes silk:silkworm|moth;
Which vegetable makes people cry when cut:onion; What do cows drink:water;
Which sense do we use our nose for:smell; Which sense do we use our ears for:hearing;
What falls from clouds as drops:rain; What is the chemical name of table salt:sodium chloride;
What is the freezing point of water in Celsius:0|zero; In which country are the pyramids of Giza:Egypt;
In which country is the Eiffel Tower:France; In which country is the Taj Mahal:India;
In which city is Big Ben:London; In which country is the Great Wall:China;
In which city is the Statue of Liberty:New York; In which country is Mount Fuji:Japan;
In which city is the Colosseum:Rome; Which sea lies between Europe and Africa:Mediterranean
""")
PHRASES = pairs("""
An apple a day keeps the doctor:away; The early bird catches the:worm; Actions speak louder than:words;
Better late than:never; Practice makes:perfect; Time is:money; Honesty is the best:policy;
Knowledge is:power; When in Rome, do as the Romans:do; Birds of a feather flock:together;
A picture is worth a thousand:words; Two wrongs do not make a:right; The pen is mightier than the:sword;
Rome was not built in a:day; Look before you:leap; All that glitters is not:gold;
Too many cooks spoil the:broth; Every cloud has a silver:lining; Haste makes:waste;
Don't judge a book by its:cover; Laughter is the best:medicine; A friend in need is a friend:indeed;
Easy come, easy:go; Don't put all your eggs in one:basket; Where there is smoke there is:fire;
Curiosity killed the:cat; No pain, no:gain; Absence makes the heart grow:fonder; Beggars can't be:choosers;
Out of sight, out of:mind; Blood is thicker than:water; Beauty is in the eye of the:beholder;
Necessity is the mother of:invention; Still waters run:deep; Strike while the iron is:hot;
Twinkle, twinkle, little:star; Mary had a little:lamb; Old habits die:hard; A rolling stone gathers no:moss;
Slow and steady wins the:race
""")
SUBJECTS = words("""
The cat; The old man; My sister; A small boat; The red car; Our teacher; The farmer; The train;
A green bird; The baker; The doctor; A tall tree; The young king; Her brother; The blue door
""")
PREDICATES = words("""
is on the table; goes to school; likes warm milk; lives near the river; was late today; came home at six;
stands in the garden; needs a new coat; found a silver coin; sleeps in the afternoon;
is older than the house; has three windows; lost a black glove; waits for the bus; sings in the morning
""")

JOBS = pairs("""
bakes bread:baker; teaches at a school:teacher; flies aeroplanes:pilot; cuts hair:hairdresser|barber;
repairs water pipes:plumber; puts out fires:firefighter|fireman; looks after teeth:dentist;
catches fish:fisherman|fisher; grows crops:farmer; writes books:author|writer;
paints pictures:painter|artist; plays the piano:pianist; treats sick animals:vet|veterinarian;
cooks in a restaurant:chef|cook; sells flowers:florist; sells meat:butcher; makes clothes:tailor|seamstress;
designs buildings:architect; drives a taxi:taxi driver|driver|cabbie; takes photographs:photographer;
studies the stars:astronomer; acts in plays:actor|actress; delivers letters:postman|mailman|mail carrier;
plays the violin:violinist; guards sheep:shepherd; works under the ground for coal:miner;
sings in an opera:singer; works in a library:librarian; repairs cars:mechanic;
makes things from wood:carpenter|woodworker
""")
FEMALES = pairs("""
king:queen; man:woman; father:mother; brother:sister; uncle:aunt; son:daughter; boy:girl; husband:wife;
nephew:niece; prince:princess; actor:actress; waiter:waitress; rooster:hen; bull:cow; lion:lioness;
grandfather:grandmother; hero:heroine; duke:duchess; host:hostess; god:goddess; tiger:tigress; ram:ewe;
wizard:witch; emperor:empress; gentleman:lady
""")
MONTH_DAYS = pairs("""
January:31; March:31; April:30; May:31; June:30; July:31; August:31; September:30; October:31; November:30;
December:31
""")
