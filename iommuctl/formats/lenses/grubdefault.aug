(* SPDX-License-Identifier: Apache-2.0 *)
(* /etc/default/grub and its drop-ins, as lines: an assignment of a variable that holds a kernel command line is a
   node with its value as written, quotes included; every other line is kept whole. What encloses a
   line (a condition, a function) is the shell reader's business, not the lens'. *)
module Grubdefault =

let variable = /GRUB_CMDLINE_LINUX(_DEFAULT)?/

(* A shell word: double quotes, single quotes, escaped and plain characters. No command substitution outside quotes. *)
let double   = /"([^"\\]|\\\\(.|\n))*"/
let single   = /'[^']*'/
let escaped  = /\\\\./
let plain    = /[^ \t\n"'\\;&|<>()`]/
let word     = (double|single|escaped|plain)*

let indent   = del /[ \t]*(export[ \t]+)?/ ""
let tail     = del /([ \t]*(;[ \t]*)?|([ \t]+|[ \t]*;[ \t]*)#[^\n]*)\n/ "\n"

(* `+=` is what bash appends by: the sign stays, and the value is what is appended. *)
let assign   = [ indent . key variable . del /\+?=/ "=" . store word . tail ]

(* Every other line: /[^\n]*/ - (/[ \t]*(export[ \t]+)?/ . variable . /\+?=[^\n]*/), written out letter by letter, since
   libfa makes an expression of that difference that takes four times as long to compile and twice as long to write
   back. `unset` is what begins as the two names do and goes on otherwise. *)
let unset    = /G(R(U(B(_(C(M(D(L(I(N(E(_(L(I(N(U(X(\+([^=\n][^\n]*)?|_(D(E(F(A(U(L(T(\+([^=\n][^\n]*)?|[^+=\n][^\n]*)?|[^T\n][^\n]*)?|[^L\n][^\n]*)?|[^U\n][^\n]*)?|[^A\n][^\n]*)?|[^F\n][^\n]*)?|[^E\n][^\n]*)?|[^D\n][^\n]*)?|[^+=_\n][^\n]*)?|[^X\n][^\n]*)?|[^U\n][^\n]*)?|[^N\n][^\n]*)?|[^I\n][^\n]*)?|[^L\n][^\n]*)?|[^_\n][^\n]*)?|[^E\n][^\n]*)?|[^N\n][^\n]*)?|[^I\n][^\n]*)?|[^L\n][^\n]*)?|[^D\n][^\n]*)?|[^M\n][^\n]*)?|[^C\n][^\n]*)?|[^_\n][^\n]*)?|[^B\n][^\n]*)?|[^U\n][^\n]*)?|[^R\n][^\n]*)?/
let unexport = /e(x(p(o(r(t([ \t]*|[^ \t\n][^\n]*)|[^t\n][^\n]*)?|[^r\n][^\n]*)?|[^o\n][^\n]*)?|[^p\n][^\n]*)?|[^x\n][^\n]*)?/
let exported = /export[ \t]+/ . (unset | /[^G \t\n][^\n]*/)
let other    = /[ \t]*/ . (unset | unexport | exported | /[^Ge \t\n][^\n]*/)?
let line     = [ label "line" . store other . del "\n" "\n" ]

let lns      = (assign|line)*

(* For texts of thousands of lines: all lines between two assignments are one node, since a node each would cost time by
   the square of their number. What it takes to read them so, megabytes of tables, shorter texts are spared. *)
let lines    = [ label "lines" . store (other . /\n/)+ ]

let long     = lines? . (assign . lines?)*
