"""Values from every corner of Hydra's grammar, of Python's and of YAML's, as they may be typed."""

from typing import Final

LONG: Final = 20_000
"""Characters of a very long value."""
_SPACE: Final = "\N{OPEN BOX}"
"""Stands for a space in the lists below, which are split at spaces."""


def _split(text: str) -> tuple[str, ...]:
    return tuple(word.replace(_SPACE, " ") for word in text.split())


# fmt: off
NUMERALS: Final = (
    *_split(r"""
0 -0 -1 1 2 2.0 2.5 1e3 1e-3 1e400 -1e400 1. .5 +1 0x10 010 1_000 nan NaN .nan -nan inf -inf Infinity .inf 1e --1
1,000 ½ ٣ １ 2147483648 9007199254740993 9223372036854775807 9223372036854775808 -9223372036854775808
1000000000000000000000000000000
"""),
    "9" * 400,
    "9" * 5000,
    "0." + "3" * 400,
)
SHAPES: Final = (
    *_split(r"""
[] [1] [1,2] [8,8] [1,[2]] [[]] [null] ['a'] [1, 1] [,] [1␣2] [0] [-1] [1.5] [true] [8,16,24,32,40] {} {a:1}
{a:{b:null}} {1:2} {null:1} {a:1,a:2} {a} {:} } {a:[1,{b:2}]} {lr:0.1} {_target_:os.system} {name:sgd}
{channels:[4]} {kernel_size:3} [{a:1}]
( ) () f() f(1) int
"""),
    "[" * 60 + "]" * 60,
    "[" + "1," * 500 + "1]",
    "{a:" * 40 + "1" + "}" * 40,
)
# Without extend_list, json_str and oc.deprecated, of which Hydra warns on stderr.
FUNCTIONS: Final = (
    *_split(r"""
int(2.5) int(x) int('2') float(1) float(nan) str(1) bool(1) bool(x) choice() choice(1) choice(1,2)
choice([1,2],[3]) choice(choice(1)) choice(a,b choice(1,1) choice(0.1,1e400) choice(null,1) choice('','␣')
choice({a:1},{b:2}) choice(true,1,1.0) range(3) range(0) range(1,3) range(3,1) range(1,3,0) range(1,3,-1)
range(0,1,0.25) range(1,10,3) range(1,100000000) range(0,1e400) range(nan,1) range(a,b) range(-3,-1) range(10,1,-3)
interval(1,2) interval(0,0.5) interval(2,1) interval(1,1) interval(0,inf) interval(nan,1) interval(1) interval(-1,1)
interval(0.5,1.5) interval(1,1e18) interval(a,b) interval(1,2,3) interval(true,2) tag(log,interval(0.001,0.1))
tag(log,interval(0,1)) tag(log,interval(-1,1)) tag(log,interval(1,64)) tag(x,interval(0,1)) tag(log,choice(1,2))
tag(log,1) tag(interval(1,2)) tag() tag(log,range(1,3)) shuffle(1,2,3) shuffle(range(1,4)) shuffle(interval(0,1))
sort(3,1,2) sort(a,1) sort(range(3),reverse=true) glob(*) glob(g*) glob([g*,c*]) glob(*,exclude=g*) glob(nothing*)
glob() glob([) glob(1) int(range(1,3)) float(interval(1,2)) str(choice(1,2)) int(choice(1.5,2.5))
interval(start=0,end=1) range(stop=3) choice(a=1) nope(1,2) 1,2 1,1 0.05,0.1 [4],[8] a,b,c 1,,2 1, ,1 null,1
${seed},2 'a,b',c choice(1,2),3 interval(0,1),2 true,false
"""),
)
INTERPOLATIONS: Final = (
    *_split(r"""
${seed} ${model} ${training} ${training.epochs} ${optimizer.lr} ${nope} ${nope.nope} ${} ${ ${seed $} ${.} ${..}
${.name} ${..seed} ${...seed} ${seed}${seed} a${seed} ${${nope}} ${oc.env:NOPE} ${oc.env:NOPE,1} ${oc.env:HOME}
${oc.env:NOPE,null} ${oc.env:} ${oc.env} ${oc.env:A,B,C} ${oc.decode:'1'} ${oc.decode:'['} ${oc.create:{a:1}}
${oc.select:nope} ${oc.select:nope,3} ${oc.select:seed} ${oc.dict.keys:model} ${oc.dict.values:training}
${oc.dict.keys:seed} ${oc.nope:1} ${hydra:job.num} ${hydra:runtime.cwd} ${hydra:nope} ${hydra:} ${hydra.job.name}
${now:%Y} ${now:} ${python_version:} ${python_version:major} ${python_version:nope} ${nope:1} \${seed} '${seed}'
${seed:} ${oc.env:'a␣b'} ${oc.decode:${oc.env:NOPE,2}} [${seed},${seed}] {a:${seed}} ${model.groups} ${hydra}
"""),
)
WORDS: Final = (
    *("true", "True", "TRUE", "false", "yes", "no", "on", "off", "null", "NULL", "None", "~", "auto", "none"),
    *("cpu", "", "''", '""', "' '", "???", "'???'", "a b", " a", "a ", "a.b", "a/b", "../..", "/dev/null"),
    *("~root", "%s%n", "{x", "é", "日本語", "é", "\u202eabc", "👩\u200d👩\u200d👧", "\ufeff1", "\xa0", "ﬁ", "İ"),
    *("\x1b[31mred", "a\nb", "a\tb", "a\rb", "\x07", "\x7f", "\x9b31m", "\u2028", "a#b", "# x", "a:b", ":"),
    *("a: b", "!!python/name:os.system", "&a", "*a", "*", "?", "$x", "$(ls)", "`ls`", ";ls", "|", "<x>", "@"),
    *("a@b", "%", "=", "==", "a=b", "a,b", ",", ",,", "-", "--", "-m", "--help", "'", '"', "'a", '"a', "a'"),
    *("'a'b'", "'a\\'b'", "\\", "\\\\", "a\\,b", "a\\=b", "\\n", "\\x41", "'a,b'", '"[1,2]"'),
    *("x" * LONG, "x" * 300, "x.y" * 200, "é" * 5000),
)
# fmt: on
HOSTILE: Final = (NUMERALS, WORDS, SHAPES, FUNCTIONS, INTERPOLATIONS)
