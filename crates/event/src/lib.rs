//! The language of the house: the event record, its Avro codecs, and the ids everything is known by.
