"""The only part of core that knows Streamlit: frame, language, view state, cached reads, inputs and messages."""
