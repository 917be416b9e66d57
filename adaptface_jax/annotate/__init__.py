"""Labels of images made from their pixels: how a head is turned, how it is lit, how sharp the picture is."""
