/* Putting the functions of a level that has all of them into the table. */

static void install_all(jk_table *table) {
    table->matmul_f32 = matmul_f32;
    table->matmul_i8 = matmul_i8;
    table->rmsnorm = rmsnorm;
    table->softmax = softmax;
    table->swiglu = swiglu;
    table->gelu = gelu;
    table->rope = rope;
    table->attention = attention;
    table->quantize_q8_0 = quantize_q8_0;
    table->quantize_q4_0 = quantize_q4_0;
    table->dequantize_q8_0 = dequantize_q8_0;
    table->dequantize_q4_0 = dequantize_q4_0;
    table->matvec_q8_0 = matvec_q8_0;
    table->matvec_q4_0 = matvec_q4_0;
    table->topk_i8 = topk_i8;
    table->topk_f32 = topk_f32;
    table->gather_i8 = gather_i8;
    table->gather_i8_i32 = gather_i8_i32;
    table->gather_i8_f32 = gather_i8_f32;
    table->gather_f32 = gather_f32;
    table->token_mask = token_mask;
    table->logsumexp_topk = logsumexp_topk;
}
