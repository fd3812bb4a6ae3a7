// The functions that Python calls (see library.py). None of them throws for arguments that its callers check.
#include "decoder.h"
#include "draft_head.h"
#include "draw.h"
#include "exported.h"

using namespace forebay;

#pragma GCC visibility push(default)
extern "C" {

void* EXPORTED(team_new)(int threads) { return new Team(threads); }
void EXPORTED(team_delete)(void* team) { delete static_cast<Team*>(team); }

// y [rows, out_features] of x [rows, in_features], both fp32.
void EXPORTED(linear)(void* team, const Linear* w, const float* x, int64_t rows, float* y) {
  QuantizedRows quantized(w->in_features);
  quantized.reserve(rows);
  static_cast<Team*>(team)->run([&](Member& me) {
    me.each(rows, [&](int64_t row) { quantized.quantize_row(row, x + row * w->in_features); });
    linear(me, *w, quantized, rows, [&](int64_t row, int64_t first, F32 values) {
      store_outputs(y + row * w->out_features, first, w->out_features, values);
    });
  });
}

void* EXPORTED(decoder_new)(void* team, const Model* model) { return new Decoder(*static_cast<Team*>(team), *model); }
void EXPORTED(decoder_delete)(void* decoder) { delete static_cast<Decoder*>(decoder); }
void EXPORTED(decoder_forward)(void* decoder, const Pages* pages, const Batch* batch) {
  static_cast<Decoder*>(decoder)->forward(*pages, *batch);
}

void EXPORTED(draw)(void* team, const Draw* draws, int64_t rows, int64_t vocab, int64_t* tokens) {
  static_cast<Team*>(team)->run(
      [&](Member& me) { me.each(rows, [&](int64_t row) { tokens[row] = DrawRow(draws[row], vocab).token(); }); });
}
void* EXPORTED(draft_head_new)(void* team, const DraftModel* model) {
  return new DraftHead(*static_cast<Team*>(team), *model);
}
void EXPORTED(draft_head_delete)(void* head) { delete static_cast<DraftHead*>(head); }
void EXPORTED(draft)(void* head, const DraftBatch* batch) { static_cast<DraftHead*>(head)->draft(*batch); }
}
#pragma GCC visibility pop
