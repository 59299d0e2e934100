"""The screens, the only part of core that imports Streamlit.

A file of `pages/` puts a screen together; what it draws is in the file or folder of the same name here. The other files are
shared by the screens.

Names say what a function does: `show_*` draws, `*_form` draws inputs that start or change something, `choose_*` draws an
input and returns the choice, `stop_if_*` and `*_or_stop` may end the page. `reads` reads the warehouse. Nouns return
what they name: `*_table` a table, `*_text` a text. What only its own file uses begins with an underscore.
"""
