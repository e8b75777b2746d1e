#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/html.hpp"
#include "offload/gantt.hpp"
#include "offload/timeline.hpp"

namespace cairn::offload {
namespace {

// The page's script and style. Runs come as arrays; a canvas draws those in view, merged below a pixel, so
// that tens of thousands stay fluid.
constexpr std::string_view kTitle = "@TITLE@", kData = "@DATA@";
constexpr std::string_view kPage = R"html(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>@TITLE@</title>
<style>
:root{color-scheme:light dark;--fg:#222;--bg:#fff;--idle:#e6e6e6;--line:#999}
@media(prefers-color-scheme:dark){:root{--fg:#ddd;--bg:#16181c;--idle:#2a2d33;--line:#777}}
body{font:14px system-ui,sans-serif;margin:20px;color:var(--fg);background:var(--bg)}
h1{font-size:18px;margin:0 0 4px}h2{font-size:15px;margin:18px 0 4px}
canvas{width:100%;display:block;cursor:grab;touch-action:none}
table{border-collapse:collapse;margin:2px 0 6px}td,th{padding:1px 14px 1px 0;text-align:left;font-weight:400}
td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}th{opacity:.7}
.legend span{display:inline-block;margin-right:14px;white-space:nowrap}
.legend i{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:4px;vertical-align:-1px}
.shadow{background:repeating-linear-gradient(45deg,#777 0 2px,transparent 2px 5px)}
#tip{position:fixed;pointer-events:none;background:#111;color:#fff;padding:5px 8px;border-radius:4px;font-size:12px;
display:none;white-space:pre;z-index:2}
button{font:inherit;padding:1px 10px}p{opacity:.75;margin:6px 0}
</style></head><body>
<h1>@TITLE@</h1>
<p>Wheel zooms, dragging moves, a double click shows all, hovering tells. Pale: the second row, on the CPU. Hatched: shadow outliers.
Grey: idle. <button id="all">show all</button></p>
<div class="legend" id="legend"></div><div id="runs"></div><div id="tip"></div>
<script>
"use strict";
const data=@DATA@;
const rowHeight=44,gap=8,axisHeight=22,tip=document.getElementById('tip');
let total=0;for(const t of data.timelines)total=Math.max(total,t.makespan);
total=total||1e-9;let from=0,to=total;
const hue=c=>(210+137.508*c)%360;
const colour=(c,p)=>p?`hsl(${hue(c)},55%,72%)`:`hsl(${hue(c)},62%,48%)`;
const ms=s=>(s*1e3).toFixed(3)+' ms';
const views=[];
const add=(parent,tag,text,cls)=>{const e=document.createElement(tag);if(text!==undefined)e.textContent=text;
 if(cls)e.className=cls;parent.appendChild(e);return e};
let chunks=0;
for(const t of data.timelines){
 const box=document.getElementById('runs');add(box,'h2',t.title);
 const table=add(box,'table'),head=add(table,'tr');
 for(const h of ['','busy','idle (bubble)','runs'])add(head,'th',h);
 t.rows.forEach(r=>{const tr=add(table,'tr');add(tr,'td',r.name);add(tr,'td',ms(r.busy),'n');
  add(tr,'td',(100*r.bubble).toFixed(2)+' %','n');add(tr,'td',String(r.begin.length),'n');
  r.chunk.forEach(c=>{chunks=Math.max(chunks,c+1)})});
 views.push({t,canvas:add(box,'canvas')});
}
const legend=document.getElementById('legend');
for(let c=0;c<Math.min(chunks,32);c++){const s=add(legend,'span');const i=add(s,'i');i.style.background=colour(c,0);
 s.appendChild(document.createTextNode('chunk '+(c+1)))}
{const s=add(legend,'span');add(s,'i',undefined,'shadow');s.appendChild(document.createTextNode('shadow outliers'))}
function hatch(g){const p=document.createElement('canvas');p.width=p.height=6;const h=p.getContext('2d');
 h.strokeStyle='rgba(0,0,0,.6)';h.lineWidth=1.6;h.beginPath();h.moveTo(-1,7);h.lineTo(7,-1);h.moveTo(-1,1);h.lineTo(1,-1);
 h.moveTo(5,7);h.lineTo(7,5);h.stroke();return g.createPattern(p,'repeat')}
function firstAfter(r,time){let a=0,b=r.end.length;while(a<b){const m=(a+b)>>1;r.end[m]<=time?a=m+1:b=m}return a}
function draw(){
 const css=getComputedStyle(document.documentElement),idle=css.getPropertyValue('--idle'),
  line=css.getPropertyValue('--line'),fg=css.getPropertyValue('--fg');
 for(const v of views){
  const w=v.canvas.clientWidth,h=v.t.rows.length*(rowHeight+gap)+axisHeight,d=window.devicePixelRatio||1;
  v.canvas.width=w*d;v.canvas.height=h*d;v.canvas.style.height=h+'px';
  const g=v.canvas.getContext('2d');g.scale(d,d);g.font='12px system-ui,sans-serif';g.textBaseline='middle';
  const x=s=>(s-from)/(to-from)*w,pattern=hatch(g);
  v.t.rows.forEach((r,n)=>{
   const y=n*(rowHeight+gap);g.fillStyle=idle;g.fillRect(0,y,w,rowHeight);
   for(let i=firstAfter(r,from);i<r.begin.length&&r.begin[i]<to;i++){
    const a=x(r.begin[i]),b=x(r.end[i]),wide=Math.max(b-a-(b-a>3?1:0),.4);
    g.fillStyle=colour(r.chunk[i],n);g.fillRect(a,y,wide,rowHeight);
    if(data.shadow[r.kind[i]]){g.fillStyle=pattern;g.fillRect(a,y,wide,rowHeight)}
    if(wide>54){g.save();g.beginPath();g.rect(a,y,wide,rowHeight);g.clip();g.fillStyle=n?'#111':'#fff';
     g.fillText(data.kinds[r.kind[i]],Math.max(a,0)+4,y+14);g.fillText('layer '+r.layer[i],Math.max(a,0)+4,y+30);g.restore()}
   }});
  const rough=(to-from)/8,power=10**Math.floor(Math.log10(rough)),step=[1,2,5,10].map(n=>n*power).find(n=>n>=rough);
  g.strokeStyle=line;g.fillStyle=fg;g.textAlign='center';
  let free=-1;
  for(let k=Math.ceil(from/step);k*step<=to;k++){const a=x(k*step);g.beginPath();g.moveTo(a,h-axisHeight-2);
   g.lineTo(a,h-axisHeight+4);g.stroke();
   const label=+(k*step*1e3).toPrecision(6)+' ms',half=g.measureText(label).width/2;
   const at=Math.min(Math.max(a,half),w-half);  // whole at the edges
   if(at-half<free)continue;free=at+half+6;g.fillText(label,at,h-8)}
  g.textAlign='left';
 }}
function zoom(centre,factor){const span=Math.min(total,Math.max((to-from)*factor,1e-7));
 const share=(centre-from)/(to-from);from=Math.max(0,Math.min(centre-share*span,total-span));to=from+span;draw()}
function all(){from=0;to=total;draw()}
for(const v of views){
 const c=v.canvas,at=e=>from+(e.offsetX/c.clientWidth)*(to-from);let drag=null;
 c.addEventListener('wheel',e=>{e.preventDefault();zoom(at(e),Math.exp(e.deltaY*.0015))},{passive:false});
 c.addEventListener('dblclick',all);
 c.addEventListener('pointerdown',e=>{drag={x:e.clientX,from};c.setPointerCapture(e.pointerId);c.style.cursor='grabbing'});
 c.addEventListener('pointerup',()=>{drag=null;c.style.cursor='grab'});
 c.addEventListener('pointerleave',()=>{tip.style.display='none'});
 c.addEventListener('pointermove',e=>{
  if(drag){const span=to-from;from=Math.max(0,Math.min(drag.from-(e.clientX-drag.x)/c.clientWidth*span,total-span));
   to=from+span;draw();return}
  const n=Math.floor(e.offsetY/(rowHeight+gap)),r=v.t.rows[n],time=at(e);tip.style.display='none';if(!r)return;
  const i=firstAfter(r,time);
  tip.textContent=i<r.begin.length&&r.begin[i]<=time
   ?`${data.kinds[r.kind[i]]}\nchunk ${r.chunk[i]+1}, layer ${r.layer[i]}\n${ms(r.begin[i])} + ${ms(r.end[i]-r.begin[i])}`
   :`${r.name}: idle\n${ms(time)}`;
  tip.style.display='block';tip.style.left=Math.min(e.clientX+14,innerWidth-tip.offsetWidth-8)+'px';
  tip.style.top=(e.clientY+16)+'px'});
}
document.getElementById('all').addEventListener('click',all);window.addEventListener('resize',draw);draw();
</script></body></html>
)html";

using Json = nlohmann::ordered_json;

// Columns sorted by time: short in the file, quick to search.
Json row(const Timeline& timeline, Processor processor) {
  std::vector<const Event*> events;
  for (const Event& event : timeline.events)
    if (event.processor == processor) events.push_back(&event);
  std::sort(events.begin(), events.end(), [](const Event* a, const Event* b) { return a->begin < b->begin; });
  const auto& own = processor == Processor::npu ? timeline.npu : timeline.cpu;
  Json json{{"name", own.empty() ? name(processor) : own},
            {"busy", timeline.busy(processor)},
            {"bubble", timeline.bubble(processor)}};
  for (const char* column : {"begin", "end", "chunk", "layer", "kind"}) json[column] = Json::array();
  for (const Event* event : events) {
    json["begin"].push_back(event->begin);
    json["end"].push_back(event->end);
    json["chunk"].push_back(event->chunk);
    json["layer"].push_back(event->layer);
    json["kind"].push_back(static_cast<int>(event->kind));
  }
  return json;
}

// The page with its marks replaced; what is put in is not searched again.
std::string fill(std::string_view page, std::string_view title, std::string_view data) {
  std::string out;
  while (!page.empty()) {
    const size_t at = page.find('@');
    out += page.substr(0, at);
    if (at == std::string_view::npos) break;
    page.remove_prefix(at);
    if (page.starts_with(kTitle)) {
      out += title;
      page.remove_prefix(kTitle.size());
    } else if (page.starts_with(kData)) {
      out += data;
      page.remove_prefix(kData.size());
    } else {
      out += '@';
      page.remove_prefix(1);
    }
  }
  return out;
}

// JSON inside a script element: no "<" may end the script.
std::string for_script(const std::string& json) {
  std::string out;
  for (char c : json) c == '<' ? out += "\\u003c" : out += c;
  return out;
}

}  // namespace

std::string gantt_html(std::span<const Timeline> timelines) {
  Json data{{"kinds", Json::array()}, {"shadow", Json::array()}, {"timelines", Json::array()}};
  for (size_t kind = 0; kind < static_cast<size_t>(TaskKind::count); ++kind) {
    data["kinds"].push_back(name(static_cast<TaskKind>(kind)));
    data["shadow"].push_back(is_shadow(static_cast<TaskKind>(kind)));
  }
  for (const Timeline& timeline : timelines)
    data["timelines"].push_back({{"title", timeline.title},
                                 {"makespan", timeline.makespan()},
                                 {"rows", {row(timeline, Processor::npu), row(timeline, Processor::cpu)}}});
  const std::string title =
      timelines.size() == 1 ? timelines[0].title : fmt::format("{} runs of a prefill", timelines.size());
  return fill(kPage, escape_html(title),
              for_script(data.dump(-1, ' ', false, Json::error_handler_t::replace)));
}

std::string gantt_html(const Timeline& timeline) {
  return gantt_html(std::span(&timeline, 1));
}

}  // namespace cairn::offload
