//! llama2c
