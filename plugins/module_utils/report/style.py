# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look of the page: one style sheet for screens of any width, light and dark, and for paper.

The colours of the stages are those of Okabe and Ito (Color Universal Design, 2008), which people tell apart whatever
colours they see; the stages also differ by height and hatching, and each bar says its stage when it is pointed at.
"""

from __future__ import annotations

from ansible_collections.evergreen.eks.plugins.module_utils.report import records

# Stage of a node -> its class in the timeline.
STAGE_CLASSES = {
    records.SERVING: "serving",
    records.LAUNCHED: "launched",
    records.READY: "ready",
    records.CORDONED: "cordoned",
    records.DEREGISTERED: "traffic",
    records.DRAINING: "draining",
    records.DRAINED: "drained",
    records.NOT_DRAINED: "stuck",
    records.CARRIED: "stuck",
    records.TERMINATING: "terminating",
}
OUTCOME_SIGNS = {
    records.FINISHED: "\u2713",
    records.PUT_BACK: "\u21a9",
    records.FAILED: "\u2715",
    records.STOPPED: "\u25a0",
    records.INTERRUPTED: "!",
    records.RUNNING: "\u25b6",
}
OUTCOME_CLASSES = {
    records.FINISHED: "good",
    records.PUT_BACK: "calm",
    records.FAILED: "bad",
    records.STOPPED: "warn",
    records.INTERRUPTED: "warn",
    records.RUNNING: "calm",
}

# Hatchings, shared by all drawings of the page; C(fill) is of the style sheet.
PATTERNS = (
    '<svg width="0" height="0" class="defs" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="p-back draining" width="6" height="6"/><rect class="p-line" width="2" height="6"/></pattern>'
    '<pattern id="dots" width="5" height="5" patternUnits="userSpaceOnUse">'
    '<rect class="p-back launched" width="5" height="5"/><circle class="p-line" cx="2.5" cy="2.5" r="1.1"/></pattern>'
    '<pattern id="cross" width="6" height="6" patternUnits="userSpaceOnUse">'
    '<rect class="p-back stuck" width="6" height="6"/><path class="p-stroke" d="M0 0L6 6M6 0L0 6"/></pattern>'
    '<pattern id="idle" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">'
    '<rect class="p-idle" width="3" height="8"/></pattern>'
    "</defs></svg>"
)

STYLE = """
:root{color-scheme:light dark;
--paper:#fbfbfa;--card:#fff;--ink:#1c2430;--soft:#56606e;--line:#dde1e6;--faint:#eef0f3;
--good:#00694a;--good-bg:#e2f4ec;--bad:#a3230f;--bad-bg:#fdeae5;--warn:#7a4b00;--warn-bg:#fff2d6;
--calm:#0b5a8f;--calm-bg:#e3f0fa;--accent:#0b5a8f;
--serving:#aab3bf;--launched:#0072b2;--ready:#009e73;--cordoned:#e0a100;--traffic:#b56a94;--draining:#d55e00;
--drained:#56b4e9;--stuck:#a3230f;--terminating:#39424f;--idle:#56606e66;--on-bar:#ffffff8c}
@media (prefers-color-scheme:dark){:root{
--paper:#12161c;--card:#1a2028;--ink:#e7ebf0;--soft:#a4afbd;--line:#303945;--faint:#232b35;
--good:#5fd6ab;--good-bg:#12352a;--bad:#ff9a85;--bad-bg:#41201a;--warn:#f5c35b;--warn-bg:#3b2d10;
--calm:#7fc3f5;--calm-bg:#14304a;--accent:#7fc3f5;
--serving:#5d6875;--launched:#3d9bd8;--ready:#19b88a;--cordoned:#e8b31f;--traffic:#cc79a7;--draining:#ee7a23;
--drained:#7cc8f5;--stuck:#ff7f66;--terminating:#c3ccd6;--idle:#c3ccd659;--on-bar:#00000073}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif}
main,header.top,footer{max-width:1120px;margin:0 auto;padding:0 24px}
header.top{padding-top:32px}
h1{font-size:30px;line-height:1.2;margin:2px 0 0;overflow-wrap:anywhere}
h2{font-size:19px;margin:40px 0 4px;line-height:1.3}
h3{font-size:15px;margin:22px 0 6px}
p{margin:6px 0}
.note,.eyebrow{color:var(--soft)}
.note{font-size:13.5px;margin:0 0 12px}
.eyebrow{font-size:13px;letter-spacing:.04em;text-transform:uppercase}
.badge{display:inline-flex;align-items:center;gap:8px;border-radius:999px;padding:4px 14px 4px 6px;font-weight:650;
margin:12px 0 4px}
.badge i{display:inline-grid;place-items:center;width:22px;height:22px;border-radius:50%;font-style:normal;
font-size:13px;background:currentColor}
.badge i b{color:var(--card);font-weight:700;line-height:1}
.good{color:var(--good);background:var(--good-bg)}.bad{color:var(--bad);background:var(--bad-bg)}
.warn{color:var(--warn);background:var(--warn-bg)}.calm{color:var(--calm);background:var(--calm-bg)}
.lead{font-size:19px;font-weight:600;margin:6px 0}
.story{max-width:78ch;margin:0 0 14px}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(230px,1fr));gap:10px 28px;margin:16px 0 0;
border-top:1px solid var(--line);padding-top:14px}
.facts div{min-width:0}
.facts dt,.stat dt{color:var(--soft);font-size:12.5px}
.facts dd,.stat dd{margin:0;overflow-wrap:anywhere}
.facts dd{font-size:14px}.facts small{display:block;color:var(--soft);font-size:12.5px}
.stats{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:22px 0 0}
.stat{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px;margin:0}
.stat dd{font-size:21px;font-weight:650;line-height:1.25;font-variant-numeric:tabular-nums}
.stat small{display:block;color:var(--soft);font-size:12.5px;font-weight:400}
.ways{border-radius:10px;padding:14px 18px;margin:20px 0 0;border-left:5px solid currentColor}
.ways>*{color:var(--ink)}.ways h2{margin:0 0 4px;font-size:17px}
pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre-wrap;
overflow-wrap:anywhere;background:var(--card);border:1px solid var(--line);border-radius:6px;padding:8px 12px;
margin:4px 0 10px}
.mono{font:12.5px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px}
svg{display:block;overflow:visible}
.defs{position:absolute}
.p-back.draining{fill:var(--draining)}.p-back.launched{fill:var(--launched)}.p-back.stuck{fill:var(--stuck)}
.p-line{fill:var(--on-bar)}.p-stroke{stroke:var(--on-bar);stroke-width:1.2;fill:none}.p-idle{fill:var(--idle)}
.serving{fill:var(--serving)}.launched{fill:url(#dots)}.ready{fill:var(--ready)}.cordoned{fill:var(--cordoned)}
.traffic{fill:var(--traffic)}.draining{fill:url(#hatch)}.drained{fill:var(--drained)}.stuck{fill:url(#cross)}
.terminating{fill:var(--terminating)}.idle{fill:url(#idle)}.pause{fill:var(--paper);opacity:.55}
.grid{stroke:var(--line);stroke-width:1}
.tick{fill:var(--soft);font-size:11.5px;text-anchor:middle;font-variant-numeric:tabular-nums}
.halo{paint-order:stroke;stroke:var(--paper);stroke-width:5px;stroke-linejoin:round}
.blockmark{fill:var(--stuck)}
.legend{display:flex;flex-wrap:wrap;gap:6px 18px;margin:0 0 12px;padding:0;list-style:none;
font-size:13px;color:var(--soft)}
.legend li{display:flex;align-items:center;gap:7px}
.legend svg{flex:none}
.time{display:grid;grid-template-columns:minmax(150px,19%) 1fr;column-gap:14px;align-items:center}
.time>.n{font-size:12.5px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;font-variant-numeric:tabular-nums}
.time>.n b{display:inline-block;width:2.6em;font-weight:400;color:var(--soft);font-size:11.5px}
.time>svg{width:100%;height:17px}
.time>svg.axis{height:20px}
details.wave{margin:0 0 6px}
summary{cursor:pointer}
details.wave>summary{padding:6px 0 4px;font-size:14px}
details.wave>summary span{color:var(--soft);font-size:13px}
.bars{display:grid;grid-template-columns:minmax(0,max-content) auto minmax(40px,1fr);gap:5px 14px;align-items:center;
font-size:14px}
.bars .v{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bars .b{height:11px;border-radius:3px;background:var(--accent);min-width:2px}
.bars .b.wait{background:repeating-linear-gradient(135deg,var(--idle) 0 4px,transparent 4px 8px),var(--faint)}
.chart{width:100%;height:230px}
.l-desired{stroke:var(--terminating);stroke-dasharray:2 3}.l-members{stroke:var(--launched)}
.l-ready{stroke:var(--ready)}.l-floor{stroke:var(--stuck);stroke-dasharray:9 4}
.chart path.l,.legend path{fill:none;stroke-width:2;vector-effect:non-scaling-stroke;stroke-linejoin:round}
.chart path.l-ready,.legend path.l-ready{stroke-width:3.5}
.under{fill:var(--stuck);opacity:.1}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th{text-align:left;color:var(--soft);font-weight:600;font-size:12.5px;
border-bottom:1px solid var(--line);padding:6px 12px 6px 0;vertical-align:bottom}
td{border-bottom:1px solid var(--faint);padding:6px 12px 6px 0;vertical-align:top;overflow-wrap:anywhere}
td small{display:block;color:var(--soft);font-size:12px}
td.k,td.t{white-space:nowrap}
tr:last-child td{border-bottom:0}
ul.plain{margin:6px 0;padding-left:20px}
ol.log{list-style:none;margin:8px 0 0;padding:0}
ol.log li{padding:1px 0 1px 5.6em;text-indent:-5.6em;overflow-wrap:anywhere}
ol.log time{color:var(--soft);display:inline-block;width:5.6em;text-indent:0}
footer{color:var(--soft);font-size:12.5px;padding-top:28px;padding-bottom:36px;overflow-wrap:anywhere}
@media (max-width:640px){
body{font-size:15px}main,header.top,footer{padding-left:16px;padding-right:16px}
header.top{padding-top:20px}h1{font-size:25px}.card{padding:12px 12px}
.stats{grid-template-columns:1fr 1fr}.stat dd{font-size:20px}
.facts{grid-template-columns:1fr}
.time{grid-template-columns:1fr}.time>.n{margin-top:9px;line-height:1.3}.time>.n:empty{display:none}
.time>svg{height:14px}
.tick.more{display:none}
.bars{grid-template-columns:1fr auto}.bars .b{grid-column:1/-1;margin-bottom:5px}
thead{display:none}table,tbody,td{display:block}td{border:0;padding:1px 0}td:empty{display:none}
tr{display:grid;grid-template-columns:1fr 1fr;gap:0 14px;border-bottom:1px solid var(--line);padding:9px 0}
tr:last-child{border-bottom:0}td.k,td.long{grid-column:1/-1}
td[data-h]::before{content:attr(data-h) " ";color:var(--soft);font-size:12.5px}
td.k{white-space:normal;font-weight:600}td small{display:inline;margin-left:.6em;font-weight:400}
}
@media print{
:root{color-scheme:light;--paper:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--faint:#ddd;
--good:#00553c;--good-bg:#fff;--bad:#8a1c0b;--bad-bg:#fff;--warn:#5e3a00;--warn-bg:#fff;--calm:#08436b;--calm-bg:#fff;
--serving:#aab3bf;--launched:#0072b2;--ready:#009e73;--cordoned:#e0a100;--traffic:#b56a94;--draining:#d55e00;
--drained:#56b4e9;--stuck:#a3230f;--terminating:#39424f;--on-bar:#ffffff8c}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
body{font-size:11pt}main,header.top,footer{max-width:none;padding:0}
.card,.stat,tr,.time>svg{break-inside:avoid}h2,h3,summary{break-after:avoid}thead{display:table-header-group}
.badge{border:1px solid currentColor}.screen{display:none}
details::details-content{content-visibility:visible;display:block}
}
"""
