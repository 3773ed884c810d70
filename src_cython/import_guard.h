/* A module that the processor cannot run raises ImportError. Without this, programs that import
   all modules of a package, such as "pydoc -k", would end with an illegal instruction. */
#ifndef FASTNN_IMPORT_GUARD_H
#define FASTNN_IMPORT_GUARD_H

#if defined(__GNUC__) && defined(__x86_64__) && defined(__AVX2__)
#include "processor.h"

#ifdef __AVX512F__
enum { MODULE_LEVEL = 2 };
#else
enum { MODULE_LEVEL = 1 };
#endif

/* Compiled for any processor; the module's initialisation calls nothing before. */
__attribute__((target("arch=x86-64"), noinline)) static PyObject *checked_init(PyModuleDef *module)
{
    if (processor_level() < MODULE_LEVEL) {
        PyErr_SetString(PyExc_ImportError,
                        MODULE_LEVEL == 2 ? "this processor does not have AVX-512"
                                          : "this processor does not have AVX2 and FMA");
        return NULL;
    }
    return PyModuleDef_Init(module);
}

#define PyModuleDef_Init(module) checked_init(module)
#endif

#endif
