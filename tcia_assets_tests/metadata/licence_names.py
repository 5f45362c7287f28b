"""Names of licences as sources write them, and arbitrary texts."""

from __future__ import annotations

from hypothesis import strategies as st

BY3 = "Creative Commons Attribution 3.0 Unported License"
BY4 = "Creative Commons Attribution 4.0 International License"
NC3 = "Creative Commons Attribution-NonCommercial 3.0 Unported License"
NC4 = "CC BY-NC 4.0"
NLM = "National Library of Medicine Terms and Conditions; May 21, 2019"
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
