"""Texts of many lengths and scripts."""

from __future__ import annotations

QUESTIONS = [
    "What must I do to reset the password of my account?",
    "how can i reset the password of my account",
    "What is the capital of France?",
    "",
    "a",
    "Explain why the sky looks blue at noon and red in the evening, in two sentences.",
    "北京的天气怎么样?",
    "naïve café, Ærøskøbing, straße — 😀👍🏽",
    "tab\tnew\nline\u00a0space \x00 null",
    "half a pair \ud83d alone",
    "Is 3.14 > 2.71? " * 9,
    "The river runs past the paper mill and the old stone bridge. " * 60,
]
