# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of one rollout: told from its journal and its checkpoint, as HTML, Markdown and JSON.

The floors of this package, lowest first: C(records) (what a report holds) · C(events) (the journal, read) · C(nodes),
C(blocks) · C(story) (the fold of both sources) · C(words), C(scale) · C(document), C(markdown), C(page) with
C(timeline), C(chart), C(tables), C(markup) and C(style) · C(files) (which files, and writing
them) · C(leave) (at the end of a run), C(module). Only these three read or write anything.
"""
