"""STUB until the real one lands."""
class Vocabularies:
    def counters(self): return {}
    def counter(self, name): return lambda text: max(1, len(text)//4)
