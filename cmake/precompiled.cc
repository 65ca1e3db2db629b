// A target needs a source: the precompiled headers belong to it (precompiled.cmake).
