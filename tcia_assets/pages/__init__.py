"""The HTML catalogue: static pages of what the mirror holds, without server and network.

build            the whole: which pages are written again
folder           its folder: ours or refused, files, what is known of the last run
addresses        where each page lies
overview         the overview: Collections to search, growth, state
collections      the facts of Collections, read from the warehouse
collection_facts these facts as values
publications     what they publish, and how to cite it
collection_page  the page of a Collection
series           the facts of Series on disk
series_page      the page of a Series
gallery          which pictures and volumes are made, and why one is missing
gallery_state    what was made of them, kept for the next run
bad_zips         which zips are missing or damaged, and which command helps
pictures         a small picture of a Series
strip            small pictures of some Series, side by side
volumes          a volume with its masks, as slices and as voxels
changes          what happened by day, and the feed
datasets         built datasets
dataset_plan     the plan of a dataset, as one file
rows             rows of a table as a script beside a page
charts           bars, areas and columns as numbers
license_badges   licences: a short name, and what they ask
display          numbers, sizes and dates as they are shown
rendering        templates to HTML, and what all pages share
templates/  static/  vendor/   templates, our scripts and styles, those of others
"""
