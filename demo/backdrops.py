"""The drawings: a place for each camera, and a shape for each kind that moves there. 640 x 360 pixels."""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """A drawing and the view box it fills."""

    view: str
    drawing: str


def _sky(name: str, above: str, below: str) -> str:
    return (
        f'<linearGradient id="{name}" x2="0" y2="1"><stop stop-color="{above}"/>'
        f'<stop offset="1" stop-color="{below}"/>'
        f'</linearGradient><rect width="640" height="360" fill="url(#{name})"/>'
    )


_GATE = (
    _sky("gate", "#8fc4e8", "#dcecf2")
    + '<path d="M0 165q80-38 170-12t190-8 280 8v80H0z" fill="#7fa08a"/>'
    + '<path d="M0 150h232v86H0zM408 150h232v86H408z" fill="#b98e6f"/>'
    + '<path d="M0 150h232v9H0zM408 150h232v9H408z" fill="#8f6a4f"/>'
    + '<path d="M226 118h26v120h-26zM388 118h26v120h-26z" fill="#a57b5d"/>'
    + '<path d="M221 108h36v12h-36zM383 108h36v12h-36z" fill="#7c5a43"/>'
    + '<path d="M258 132v104M274 132v104M290 132v104M306 132v104M334 132v104M350 132v104M366 '
    + "132v104M382 132v104"
    + 'M252 142h62M326 142h62M252 222h62M326 222h62" stroke="#2f3b42" stroke-width="4"/>'
    + '<path d="M0 236h640v124H0z" fill="#b9b4a7"/><path d="M252 236h136l130 124H122z" fill="#a19b8d"/>'
    + '<path d="M0 236h640v5H0z" fill="#6f8b62"/><circle cx="80" cy="120" r="42" fill="#5b8a63"/>'
    + '<circle cx="118" cy="134" r="32" fill="#6b9a70"/><circle cx="560" cy="118" r="46" fill="#5b8a63"/>'
)
_CAR_PARK = (
    _sky("park", "#f3b98c", "#f6dfc3")
    + '<path d="M0 92h150v110H0zM190 62h120v140H190zM352 104h130v98H352zM520 74h120v128H520z" '
    + 'fill="#a98a83"/>'
    + '<path d="M18 112h18v16H18zM54 112h18v16H54zM90 112h18v16H90zM18 148h18v16H18zM90 148h18v16H90z'
    + "M208 84h18v18h-18zM244 84h18v18h-18zM280 84h16v18h-16zM208 124h18v18h-18zM280 124h16v18h-16z"
    + 'M372 126h18v16h-18zM412 126h18v16h-18zM452 126h16v16h-16zM540 98h20v18h-20zM592 98h20v18h-20z" '
    + 'fill="#ffe9b0"/>'
    + '<path d="M0 196h640v164H0z" fill="#5b6068"/><path d="M0 196h640v6H0z" fill="#c9c2b6"/>'
    + '<path d="M96 202 40 264M196 202l-34 62M296 202l-12 62M396 202l10 62M496 202l32 62M596 202l54 62" '
    + 'stroke="#e9e6dc" stroke-width="4"/><path d="M0 318h640" stroke="#e9e6dc" stroke-width="4" '
    + 'stroke-dasharray="46 34"/>'
    + '<path d="M466 40v160" stroke="#3c4148" stroke-width="6"/>'
    + '<path d="M466 42h46" stroke="#3c4148" stroke-width="5"/>'
    + '<path d="M498 42h30l6 12h-42z" fill="#fff3c9"/>'
)
_GARDEN = (
    _sky("garden", "#bfe3f0", "#eef7ea")
    + '<path d="M0 176q120-66 250-26t390-22v120H0z" fill="#8cbf7c"/>'
    + '<path d="M0 206q200-40 640 4v150H0z" fill="#6faa62"/>'
    + '<path d="M0 286q200-34 360-12t280-14v66q-160 24-300 6T0 344z" fill="#d9c9a3"/>'
    + '<path d="M96 96h14v120H96zM528 82h16v130h-16z" fill="#7a5c44"/>'
    + '<circle cx="102" cy="92" r="54" fill="#4f8f57"/><circle cx="66" cy="118" r="34" fill="#5b9d60"/>'
    + '<circle cx="140" cy="116" r="36" fill="#468350"/><circle cx="536" cy="84" r="60" fill="#4f8f57"/>'
    + '<circle cx="494" cy="112" r="36" fill="#5b9d60"/><circle cx="580" cy="110" r="40" fill="#468350"/>'
    + '<g fill="#fff"><circle cx="210" cy="232" r="4"/><circle cx="226" cy="240" r="4"/>'
    + '<circle cx="420" cy="228" r="4"/></g>'
    + '<g fill="#f4cf5b"><circle cx="196" cy="244" r="4"/><circle cx="404" cy="238" r="4"/>'
    + '<circle cx="444" cy="240" r="4"/></g>'
    + '<path d="M286 214h90v8h-90zM296 222h7v22h-7zM360 222h7v22h-7zM286 196h90v7h-90z" fill="#8a6a4d"/>'
)
_DOCK = (
    _sky("dock", "#101a26", "#243447")
    + '<path d="M0 70h640v184H0z" fill="#33465a"/><path d="M0 70h640v14H0z" fill="#22303f"/>'
    + '<path d="M50 122h150v132H50zM246 122h150v132H246zM442 122h150v132H442z" fill="#1e2a37"/>'
    + '<path d="M50 144h150M50 166h150M50 188h150M50 210h150M50 232h150M442 144h150M442 166h150M442 188h150'
    + 'M442 210h150M442 232h150" stroke="#2b3a4a" stroke-width="4"/>'
    + '<path d="M246 122h150v132H246z" fill="#f2c879" opacity=".55"/>'
    + '<path d="M246 254h150l90 106H156z" fill="#f2c879" opacity=".16"/>'
    + '<path d="M0 254h640v106H0z" fill="#2a3440" opacity=".8"/><path d="M0 254h640v8H0z" fill="#e0b93f"/>'
    + '<path d="M0 254h20l-8 8H0zM50 254h30l-8 8H42zM110 254h30l-8 8h-30zM170 254h30l-8 8h-30zM230 '
    + "254h30l-8 8h-30z"
    + "M290 254h30l-8 8h-30zM350 254h30l-8 8h-30zM410 254h30l-8 8h-30zM470 254h30l-8 8h-30zM530 254h30l-8 8h-30z"
    + 'M590 254h30l-8 8h-30z" fill="#14191f"/>'
    + '<g fill="#ffe7ad"><path d="M112 92h26l8 10h-42zM308 92h26l8 10h-42zM504 92h26l8 10h-42z"/></g>'
)
BACKDROPS = (_DOCK, _GATE, _CAR_PARK, _GARDEN)  # by the camera's number, modulo four

SUBJECTS = {
    "person": Shape(
        "0 0 52 132",
        '<circle cx="26" cy="14" r="11" fill="#e3b591"/><path d="M15 12a11 11 0 0 1 22 0z" fill="#3b2a20"/>'
        '<path d="M12 40q0-14 14-14t14 14v36H12z" fill="#c8553d"/>'
        '<path d="M8 42q0-8 6-8v38l-6 2zM44 42q0-8-6-8v38l6 2z" fill="#a8442f"/>'
        '<path d="M13 74h26l4 54h-11l-6-36-6 36H9z" fill="#2c3e56"/>'
        '<path d="M7 126h14v6H7zM32 126h14v6H32z" fill="#191f28"/>',
    ),
    "car": Shape(
        "0 0 190 86",
        '<path d="M6 48q2-10 16-12l22-4 20-22q6-6 16-6h40q12 0 20 8l18 20 20 4q10 2 10 14v16q0 6-6 '
        '6H10q-6 0-6-6z" fill="#2f6db5"/>'
        '<path d="M54 32 72 13q3-3 8-3h16v22zM102 10h18q8 0 13 5l16 17h-47z" fill="#cfe6f5"/>'
        '<path d="M4 52h10v9H4zM176 50h10v8h-10z" fill="#ffe9a8"/>'
        '<g fill="#16191d"><circle cx="46" cy="70" r="16"/><circle cx="146" cy="70" r="16"/></g>'
        '<g fill="#aab3bb"><circle cx="46" cy="70" r="7"/><circle cx="146" cy="70" r="7"/></g>',
    ),
    "bicycle": Shape(
        "0 0 104 112",
        '<g fill="none" stroke="#1d2329" stroke-width="4"><circle cx="22" cy="88" r="21"/>'
        '<circle cx="82" cy="88" r="21"/></g>'
        '<path d="M22 88 40 58h32L50 88H22M72 58l10 30M72 58l-3-12h10M36 52h12" fill="none" '
        'stroke="#d0482e" stroke-width="5"/>'
        '<circle cx="60" cy="12" r="11" fill="#e3b591"/><path d="M48 11a12 12 0 0 1 24 0z" fill="#f2f2ee"/>'
        '<path d="M50 26q10-4 16 4l10 18-6 4-12-14-8 18H36q2-22 14-30z" fill="#3f8f6b"/>'
        '<path d="M38 52h16l6 16-6 22h-8l4-20-12-8z" fill="#2c3e56"/>',
    ),
    "dog": Shape(
        "0 0 82 58",
        '<path d="M6 20q-6-8 0-14 2 8 8 12l34 2q6-2 8-10l2-6 6 4 10 6q6 4 2 8l-8 2q-2 10-8 '
        '12v22h-7V36H22l-2 22h-7l-2-24q-5-4-5-14z" fill="#8d5f3c"/>'
        '<path d="m58 4 6 4-3 10-6-4z" fill="#5e3d25"/><circle cx="68" cy="12" r="1.8" fill="#16110c"/>'
        '<circle cx="77" cy="17" r="2.4" fill="#16110c"/>',
    ),
}
