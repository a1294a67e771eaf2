import { getConformanceSuite,getParsingSuite,getCheckingSuite,getComprehensionSuite } from '@bufbuild/cel-spec/testdata/tests.js';
const s=getConformanceSuite();
const show=(x,p)=>{for(const t of x.tests)console.log(p,'|',t.original.expr.replace(/\s+/g,' '),'|',t.type??'', t.original.disableCheck?'NOCHECK':'',t.original.container,t.original.typeEnv.map(e=>e.name).join(),Object.keys(t.original.bindings).join(), t.original.resultMatcher.case);for(const y of x.suites)show(y,p+'/'+y.name)};
for(const x of s.suites) if(process.argv.slice(2).includes(x.name))show(x,x.name);
