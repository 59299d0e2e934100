"""What the product says, as text files: every verb, page, deck and report, in both languages, on one fixed warehouse.

A change that is to change nothing there is held against it: `python -m tests.dump --out FOLDER` before and after it, then
`diff -r`. Verbs, pages and screens are found by asking the parser, the folder of pages and the screens themselves.
"""
